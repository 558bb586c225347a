// The parts of JSON that are read here: strings and numbers as our writer would write them, byte for byte. Whatever is not is left to another reader.
#pragma once

#include "interner.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tacit {

inline const char *after_space(const char *place, const char *end) {
    while (place < end && (*place == ' ' || *place == '\t' || *place == '\n' || *place == '\r')) ++place;
    return place;
}

// The first byte that is a quote, a backslash, a control character or no ASCII; or the end.
inline const char *next_sign(const char *place, const char *end) {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    for (; end - place >= 16; place += 16) {
        __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i *>(place));
        __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, slash)), _mm_cmplt_epi8(block, space));
        int mask = _mm_movemask_epi8(found);
        if (mask) return place + __builtin_ctz(static_cast<unsigned>(mask));
    }
#endif
    while (place < end && *place != '"' && *place != '\\' && static_cast<signed char>(*place) >= 0x20) ++place;
    return place;
}

// Bytes of the UTF-8 sequence (RFC 3629) that begins here with a byte beyond ASCII; 0 if it is none.
inline size_t sequence(const char *place, const char *end) {
    auto byte = [place](size_t offset) { return static_cast<unsigned char>(place[offset]); };
    auto more = [&](size_t offset) { return (byte(offset) & 0xC0) == 0x80; };
    size_t left = static_cast<size_t>(end - place);
    unsigned char lead = byte(0);
    if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && more(1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (left < 3 || !more(1) || !more(2)) return 0;
        if (lead == 0xE0 && byte(1) < 0xA0) return 0;
        return lead == 0xED && byte(1) > 0x9F ? 0 : 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (left < 4 || !more(1) || !more(2) || !more(3)) return 0;
        if (lead == 0xF0 && byte(1) < 0x90) return 0;
        return lead == 0xF4 && byte(1) > 0x8F ? 0 : 4;
    }
    return 0;
}

// The end of a string that begins at a quote, its closing quote included; null if it is not written as our writer would write it.
inline const char *string_end(const char *place, const char *end) {
    for (++place;;) {
        place = next_sign(place, end);
        if (place >= end) return nullptr;
        if (*place == '"') return place + 1;
        if (*place == '\\') {
            if (end - place < 2 || std::memchr("\"\\bfnrt", place[1], 7) == nullptr) return nullptr;
            place += 2;
        } else {
            size_t bytes = static_cast<signed char>(*place) < 0 ? sequence(place, end) : 0;
            if (bytes == 0) return nullptr;
            place += bytes;
        }
    }
}

// The end of an integer of at most 18 digits; null for anything else.
inline const char *integer_end(const char *place, const char *end) {
    const char *first = place < end && *place == '-' ? place + 1 : place, *last = first;
    while (last < end && *last >= '0' && *last <= '9') ++last;
    if (last == first || last - first > 18 || (*first == '0' && (last - first > 1 || first != place))) return nullptr;
    return last < end && (*last == '.' || *last == 'e' || *last == 'E') ? nullptr : last;
}

inline const char *word_end(const char *place, const char *end) {
    for (Text word : {Text("null"), Text("true"), Text("false")})
        if (static_cast<size_t>(end - place) >= word.size() && Text(place, word.size()) == word) return place + word.size();
    return nullptr;
}

// What stands between the quotes. The string must be one that `string_end` or `write_string` gave.
inline void read_string(Text raw, std::string &into) {
    into.clear();
    const char *place = raw.data() + 1, *end = raw.data() + raw.size() - 1;
    while (place < end) {
        const char *slash = static_cast<const char *>(std::memchr(place, '\\', static_cast<size_t>(end - place)));
        if (slash == nullptr || slash + 1 >= end) break;
        into.append(place, slash);
        char sign = slash[1];
        place = slash + 2;
        if (sign == 'u' && end - place >= 4) {
            into.push_back(static_cast<char>(std::stoi(std::string(place + 2, 2), nullptr, 16)));
            place += 4;
        } else {
            into.push_back(sign == 'b' ? '\b' : sign == 'f' ? '\f' : sign == 'n' ? '\n' : sign == 'r' ? '\r' : sign == 't' ? '\t' : sign);
        }
    }
    into.append(place, end);
}

// A text between quotes, escaped as our writer does.
inline void write_string(Text text, std::string &into) {
    static const char digits[] = "0123456789abcdef";
    into.push_back('"');
    const char *place = text.data(), *end = place + text.size();
    while (place < end) {
        const char *next = next_sign(place, end);
        into.append(place, next);
        if ((place = next) >= end) break;
        unsigned char sign = static_cast<unsigned char>(*place++);
        const char *known = sign >= 0x80 ? nullptr : static_cast<const char *>(std::memchr("\"\\\b\f\n\r\t", sign, 7));
        if (sign >= 0x80) {
            into.push_back(static_cast<char>(sign));
        } else if (known) {
            into.push_back('\\');
            into.push_back(sign == '"' || sign == '\\' ? static_cast<char>(sign) : sign == '\b' ? 'b' : sign == '\f' ? 'f' : sign == '\n' ? 'n'
                : sign == '\r' ? 'r' : 't');
        } else {
            into.append("\\u00");
            into.push_back(digits[sign >> 4]);
            into.push_back(digits[sign & 15]);
        }
    }
    into.push_back('"');
}

}  // namespace tacit
