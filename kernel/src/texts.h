// Free text: cut into tokens, each looked at once, and put together again from what became of them.
#pragma once

#include <algorithm>
#include <array>

#include "json.h"
#include "signs.h"

namespace tacit {

// Names in lower case with their pseudonyms, and the words that texts are scanned for: of each name its longest.
class Dictionary {
  public:
    std::vector<uint32_t> sign;  // of each word: the version of the newest name that it is the longest part of, 0 for none
    Interner words;
    bool whole = true;

    void learn(Text name, Text pseudonym, Text part, uint32_t version) {
        bool fresh;
        uint32_t number = names_.put(name, fresh);
        pseudonyms_.set(number, pseudonym);
        uint32_t own = word(part);
        sign[own] = std::max(sign[own], version);
    }

    uint32_t word(Text text) {
        bool fresh;
        uint32_t number = words.put(text, fresh);
        if (fresh) sign.push_back(0);
        return number;
    }

    bool get(Text low, Text &pseudonym) const {
        uint32_t number = names_.find(low);
        if (number == NONE) return false;
        pseudonym = pseudonyms_.at(number);
        return true;
    }

    void clear() {
        names_.clear();
        pseudonyms_.clear();
        words.clear();
        sign.clear();
    }

  private:
    Interner names_;
    Outs pseudonyms_;
};

constexpr size_t LONGEST_TOKEN = 1000, LONGEST_NAME = 14, SHORTEST_RUN = 14, WRITTEN = 25;

class Texts {
  public:
    static constexpr uint32_t ENCODED = 1u << 31;  // beside the groups of signs

    Texts(const std::vector<std::string> &signs, const std::vector<uint32_t> &groups) : signs_(signs, groups) {
        for (int byte = 0; byte < 256; ++byte) {
            divider_[byte] = byte > 0 && byte < 128 && (std::strchr(" \t\n\v\f\r\x1c\x1d\x1e\x1f\"'<>()[]{},;|&=/\\^`!?*#", byte) != nullptr);
            letter_[byte] = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
            hex_[byte] = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'F') || (byte >= 'a' && byte <= 'f');
            run_[byte] = letter_[byte] || (byte && std::strchr("+/_-", byte) != nullptr);
        }
    }

    Dictionary dictionary;
    Interner raws;                  // texts as JSON
    Interner accounts;
    std::vector<uint32_t> batch;    // texts of the batch, each once
    std::vector<uint32_t> asked;    // texts, then tokens, that somebody else is asked about
    std::vector<uint32_t> masks;    // of the texts asked about: groups of signs

    // A text of `raws` belongs to the batch.
    void touch(uint32_t number) {
        if (number >= texts_.size()) texts_.resize(raws.size());
        if (texts_[number].batch == round_) return;
        texts_[number].batch = round_;
        batch.push_back(number);
    }

    void begin() {
        batch.clear();
        ++round_;
    }

    // Texts that were not cut into tokens yet: those without any sign are cut now, the others are `asked` about.
    void unprepared(std::vector<std::string> &found) {
        asked.clear();
        masks.clear();
        for (uint32_t number : batch) {
            if (texts_[number].ready) {
                texts_[number].cut = round_;
                continue;
            }
            read_string(raws.at(number), plain_);
            if (!texts_[number].read) find_accounts(texts_[number], plain_);
            uint32_t mask = signs_.in(plain_) | (encoded(plain_) ? ENCODED : 0);
            if (mask) {
                asked.push_back(number);
                masks.push_back(mask);
                found.push_back(plain_);
            } else {
                cut(number, raws.at(number), false);
                texts_[number].ready = true;
            }
        }
    }

    // What stands around backslashes in texts of the batch, each once. Texts must have been `unprepared` before.
    void announced(std::vector<uint32_t> &found) {
        ++turn_;
        for (uint32_t number : batch)
            for (uint32_t place = texts_[number].first_account; place < texts_[number].first_account + texts_[number].count_accounts; ++place) {
                uint32_t account = accounts_[place];
                if (account >= account_turns_.size()) account_turns_.resize(accounts.size(), 0);
                if (account_turns_[account] != turn_) found.push_back(account);
                account_turns_[account] = turn_;
            }
    }

    // What became of the texts asked about (null: nothing), and whether that is to be found out again whenever they come back.
    void prepare(size_t place, const Text *text, bool lasting) {
        bool changed = false;
        if (text != nullptr) {
            read_string(raws.at(asked[place]), plain_);
            changed = *text != plain_;
        }
        if (changed) {
            raw_.clear();
            write_string(*text, raw_);
            changed_.set(asked[place], raw_);
        }
        cut(asked[place], changed ? Text(raw_) : raws.at(asked[place]), changed);
        texts_[asked[place]].ready = lasting;
    }

    // Looks at all tokens of the batch that are new or hold a word of a new name; those that take more than this are `asked` about.
    void search(uint32_t version, std::vector<std::string> &found, bool first) {
        asked.clear();
        ++turn_;
        for (uint32_t number : batch) {
            const Cut own = texts_[number];
            for (uint32_t place = own.begin; place < own.begin + own.count; ++place) {
                uint32_t token = spots_[place].token;
                if (tokens_[token].turn == turn_) continue;
                tokens_[token].turn = turn_;
                if (current(token, first)) continue;
                tokens_[token].version = version;
                look(token);
                if (tokens_[token].state == ASK) {
                    asked.push_back(token);
                    found.emplace_back(names_.at(token));
                }
            }
        }
    }

    void treated(size_t place, Text text) {
        other(asked[place], text);
    }

    // Whether a text was cut in this batch, so that it can go out.
    bool ready(size_t number) const { return number < texts_.size() && texts_[number].batch == round_ && texts_[number].cut == round_; }

    // The text as it goes out, as JSON.
    template <class Into> void written(uint32_t number, Into &into) const {
        const Cut &own = texts_[number];
        Text raw = own.changed ? changed_.at(number) : raws.at(number);
        size_t end = 0;
        for (uint32_t place = own.begin; place < own.begin + own.count; ++place) {
            const Spot &spot = spots_[place];
            if (tokens_[spot.token].state != OTHER) continue;
            into.append(raw.substr(end, spot.begin - end)).append(outs_.at(spot.token));
            end = spot.end;
        }
        into.append(raw.substr(end));
    }

    // The same without quotes and escapes.
    const std::string &plain(uint32_t number) {
        made_.clear();
        written(number, made_);
        read_string(made_, plain_);
        return plain_;
    }

    uint32_t size() const { return std::max(texts_.empty() ? 0 : raws.size(), names_.size()); }

    size_t bytes() const { return raws.bytes() + names_.bytes() + outs_.bytes() + sizeof(Spot) * spots_.size() + changed_.bytes(); }

    void clear() {
        raws.clear();
        texts_.clear();
        names_.clear();
        tokens_.clear();
        spots_.clear();
        changed_.clear();
        words_.clear();
        accounts.clear();
        accounts_.clear();
        account_turns_.clear();
        outs_.clear();
        dictionary.clear();
    }

  private:
    enum State : uint8_t { NEW, SAME, OTHER, ASK, NEVER };

    struct Cut {
        uint32_t begin = 0, count = 0;
        uint64_t batch = 0;
        uint32_t first_account = 0, count_accounts = 0;
        bool read = false;
        uint64_t cut = 0;  // the last batch for which it was cut
        bool ready = false, changed = false;
    };

    // A token in a text, as JSON.
    struct Spot {
        uint32_t token, begin, end;
    };

    struct Token {
        uint32_t begin, count;  // its words
        uint32_t version;
        State state;
        int formed;
        bool lasting, foreign;
        uint64_t turn;
    };

    // Bytes of the divider that stands here; 0 if none does.
    size_t divider(const char *place, const char *end) const {
        unsigned char sign = static_cast<unsigned char>(*place);
        if (sign < 0x80) return divider_[sign];
        Text rest(place, static_cast<size_t>(end - place));
        for (Text space : {Text("\xc2\x85"), Text("\xc2\xa0"), Text("\xe1\x9a\x80"), Text("\xe2\x80\xa8"), Text("\xe2\x80\xa9"), Text("\xe2\x80\xaf"),
                           Text("\xe2\x81\x9f"), Text("\xe3\x80\x80")})
            if (rest.substr(0, space.size()) == space) return space.size();
        bool wide = rest.size() >= 3 && rest.substr(0, 2) == Text("\xe2\x80") && static_cast<unsigned char>(rest[2]) >= 0x80 &&
                    static_cast<unsigned char>(rest[2]) <= 0x8a;
        return wide ? 3 : 0;
    }

    // See `ACCOUNT` of the patterns: two to 63 signs of a domain, a backslash, two to 64 signs of a name.
    void find_accounts(Cut &own, Text text) {
        own.read = true;
        own.first_account = static_cast<uint32_t>(accounts_.size());
        size_t least = 0;
        for (size_t slash = text.find('\\'); slash != Text::npos; slash = text.find('\\', slash + 1)) {
            size_t first = slash, last = slash + 1;
            while (first > least && slash - first < 63 && (letter_[byte(text[first - 1])] || text[first - 1] == '.'
                || text[first - 1] == '-')) --first;
            while (last < text.size() && last - slash <= 64 && (letter_[byte(text[last])] || std::strchr("._$-", text[last] ? text[last]
                : '!'))) ++last;
            if (slash < least + 2 || slash - first < 2 || last - slash < 3) continue;
            bool fresh;
            accounts_.push_back(accounts.put(text.substr(first, last - first), fresh));
            least = last;
        }
        own.count_accounts = static_cast<uint32_t>(accounts_.size()) - own.first_account;
    }

    static unsigned char byte(char sign) { return static_cast<unsigned char>(sign); }

    // Bytes of what divides tokens at a place of a JSON string, an escape included; 0 if nothing does.
    size_t divider_in_json(const char *place, const char *end) const {
        if (*place != '\\') return divider(place, end);
        return end - place >= 2 && place[1] != 'b' && place[1] != 'u' ? 2 : place[1] == 'u' && end - place >= 6 && divider_[code(place)] ? 6 : 0;
    }

    // Of a control character that is written as an escape.
    static unsigned char code(const char *place) { return static_cast<unsigned char>((place[4] - '0') << 4 | (place[5] <= '9' ? place[5] - '0'
        : place[5] - 'a' + 10)); }

    // Tokens of a text, as JSON.
    void cut(uint32_t number, Text raw, bool changed) {
        Cut &own = texts_[number];
        own.begin = static_cast<uint32_t>(spots_.size());
        own.cut = round_;
        own.changed = changed;
        const char *first = raw.data(), *place = first + 1, *end = first + raw.size() - 1;
        while (place < end) {
            const char *begin = place;
            bool escaped = false;
            while (place < end && divider_in_json(place, end) == 0) {
                escaped |= *place == '\\';
                place += *place == '\\' ? (place[1] == 'u' ? 6 : 2) : 1;
            }
            if (place > begin) {
                uint32_t found;
                if (escaped) {
                    escaped_.assign("\"").append(begin, place).append("\"");
                    read_string(escaped_, low_);
                    made_ = low_;
                    found = token(made_);
                } else {
                    found = token(Text(begin, static_cast<size_t>(place - begin)));
                }
                if (tokens_[found].state != NEVER) spots_.push_back({found, static_cast<uint32_t>(begin - first),
                    static_cast<uint32_t>(place - first)});
            }
            for (size_t bytes; place < end && (bytes = divider_in_json(place, end)) > 0; place += bytes) {}
        }
        own.count = static_cast<uint32_t>(spots_.size()) - own.begin;
    }

    uint32_t token(Text text) {
        bool fresh;
        uint32_t number = names_.put(text, fresh);
        if (!fresh) return number;
        Token own{static_cast<uint32_t>(words_.size()), 0, 0, NEW, formed(text), text.size() <= LONGEST_TOKEN, false, 0};
        for (char sign : text) own.foreign |= static_cast<signed char>(sign) < 0;
        lower(text);
        for (size_t place = 0; place < low_.size();) {
            size_t last = place;
            while (last < low_.size() && letter_[static_cast<unsigned char>(low_[last])]) ++last;
            if (last > place) words_.push_back(dictionary.word(Text(low_).substr(place, last - place)));
            place = last + 1;
        }
        own.count = static_cast<uint32_t>(words_.size()) - own.begin;
        if (own.count == 0 && own.formed == 0 && !own.foreign) own.state = NEVER;
        tokens_.push_back(own);
        return number;
    }

    void other(uint32_t number, Text text) {
        tokens_[number].state = text == names_.at(number) ? SAME : OTHER;
        if (tokens_[number].state == SAME) return;
        escaped_.clear();
        write_string(text, escaped_);
        outs_.set(number, Text(escaped_).substr(1, escaped_.size() - 2));
    }

    void lower(Text text) {
        low_.assign(text);
        for (char &sign : low_)
            if (sign >= 'A' && sign <= 'Z') sign = static_cast<char>(sign + 32);
    }

    // Whether what is known of a token holds still. First in a batch, what is not remembered is looked at again.
    bool current(uint32_t number, bool first) const {
        const Token &own = tokens_[number];
        if (own.state == NEW || own.state == ASK) return false;
        if (own.foreign || !dictionary.whole || (first && !own.lasting)) return false;
        for (uint32_t word = own.begin; word < own.begin + own.count; ++word)
            if (dictionary.sign[words_[word]] > own.version) return false;
        return true;
    }

    void look(uint32_t number) {
        Token &own = tokens_[number];
        bool named = false;
        for (uint32_t word = own.begin; !named && word < own.begin + own.count; ++word) named = dictionary.sign[words_[word]] > 0;
        Text text = names_.at(number), hit;
        if (own.formed < 2 && !own.foreign && !named && dictionary.whole) {
            own.state = SAME;
            return;
        }
        own.state = ASK;
        if (own.foreign || !own.lasting || !dictionary.whole || maybe_written(text)) return;
        lower(text);
        if (dictionary.get(low_, hit)) {
            other(number, hit);
        } else if (own.formed < 2) {
            parts(number, text);
        }
    }

    // Names inside a token, the longest first, at the borders of words: see `Scrubber._parts`.
    void parts(uint32_t number, Text text) {
        std::vector<std::pair<size_t, size_t>> spans;
        std::vector<size_t> signs;
        for (size_t place = 0; place < low_.size();) {
            size_t last = place;
            while (last < low_.size() && letter_[static_cast<unsigned char>(low_[last])]) ++last;
            if (last > place) {
                if (dictionary.sign[words_[tokens_[number].begin + spans.size()]] > 0) signs.push_back(spans.size());
                spans.emplace_back(place, last);
            }
            place = last + 1;
        }
        made_.clear();
        size_t end = 0;
        for (size_t place = 0; !signs.empty() && place <= signs.back(); ++place) {
            size_t sign = *std::lower_bound(signs.begin(), signs.end(), place);
            if (sign >= place + LONGEST_NAME) continue;
            for (size_t last = std::min(spans.size(), place + LONGEST_NAME); last-- > sign;) {
                Text hit;
                if (!dictionary.get(Text(low_).substr(spans[place].first, spans[last].second - spans[place].first), hit)) continue;
                made_.append(text.substr(end, spans[place].first - end)).append(hit);
                end = spans[last].second;
                place = last;
                break;
            }
        }
        other(number, made_.append(text.substr(end)));
    }

    // Whether a pseudonym may stand inside.
    static bool maybe_written(Text text) { return text.size() >= WRITTEN && std::count(text.begin(), text.end(), '-') >= 2; }

    // How much of what `FORM` of the patterns finds there is: 0 nothing, 1 a name with one dot, which `FORMS` finds and leaves, 2 more.
    int formed(Text text) const {
        size_t colons = 0, digits = 0, all = 0, dots = 0;
        bool dotted = false;
        auto at = [&](size_t place) { return place < text.size() ? static_cast<unsigned char>(text[place]) : 0; };
        auto digit = [&](size_t place) { return at(place) >= '0' && at(place) <= '9'; };
        auto hexes = [&](size_t first, size_t count) {
            for (size_t place = first; place < first + count; ++place)
                if (!hex_[at(place)]) return false;
            return true;
        };
        for (size_t place = 0; place < text.size(); ++place) {
            unsigned char sign = at(place);
            digits = digit(place) ? digits + 1 : 0;
            all += digits > 0;
            if (sign == '@' || sign == '%' || digits >= 12 || (sign == ':' && ++colons >= 2)) return 2;
            if (sign == '.') {
                ++dots;
                if (place == 0) continue;
                unsigned char before = at(place - 1), after = at(place + 1);
                if (digit(place - 1) && digit(place + 1)) return 2;
                if (place >= 4 && hexes(place - 4, 4) && hexes(place + 1, 4)) return 2;
                dotted |= letter_[before] && letter_[after] && !digit(place + 1);
            }
            if ((sign == ':' || sign == '-') && place > 0) {
                if (hex_[at(place - 1)] && hexes(place + 1, 2) && (at(place + 3) == ':' || at(place + 3) == '-')) return 2;
                if (sign == '-' && (at(place - 1) == 's' || at(place - 1) == 'S') && at(place + 1) == '1' && at(place + 2) == '-') return 2;
                if (sign == '-' && place >= 4 && at(place + 5) == '-') {
                    bool four = true;
                    for (size_t offset = 1; offset <= 4; ++offset) four = four && digit(place - offset) && digit(place + offset);
                    if (four) return 2;
                }
            }
        }
        // Thirteen digits may be a card's number, which is looked for where anything else was found.
        return !dotted ? 0 : dots == 1 && all < 13 ? 1 : 2;
    }

    // Whether a run of characters is long enough to be base64 or hexadecimal, and not a word in small letters: see `encoded.py`.
    bool encoded(const std::string &text) const {
        for (size_t place = 0; place < text.size();) {
            size_t last = place;
            bool capital = false, small = false, hex = true;
            for (; last < text.size() && run_[static_cast<unsigned char>(text[last])]; ++last) {
                capital |= text[last] >= 'A' && text[last] <= 'Z';
                small |= text[last] >= 'a' && text[last] <= 'z';
                hex &= hex_[static_cast<unsigned char>(text[last])];
            }
            if (last - place >= SHORTEST_RUN && (hex || capital == small)) return true;
            place = last + 1;
        }
        return false;
    }

    Signs signs_;
    std::array<bool, 256> divider_{}, letter_{}, hex_{}, run_{};
    Interner names_;
    std::vector<Cut> texts_;
    std::vector<Token> tokens_;
    std::vector<Spot> spots_;
    std::vector<uint32_t> words_, accounts_;
    std::vector<uint64_t> account_turns_;
    Outs changed_;  // texts that were prepared otherwise than they came, as JSON
    Outs outs_;     // of tokens, escaped
    std::string plain_, raw_, low_, made_, escaped_;
    uint64_t round_ = 0, turn_ = 0;
};

}  // namespace tacit
