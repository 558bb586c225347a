// URLs of the plain kind, taken apart as `Places.url` does: what becomes of a host, a segment, a parameter's name and a value is asked outside.
#pragma once

#include "interner.h"

namespace tacit {

class Urls {
  public:
    enum Kind { HOST, SEGMENT, PARAMETER, VALUE, KINDS };

    std::vector<uint32_t> asked[KINDS];

    void begin() {
        for (auto &list : asked) list.clear();
        outs_[PARAMETER].clear();  // a parameter may be a name that was learned since
        for (size_t kind = 0; kind < KINDS; ++kind)
            if (names_[kind].size() > MOST) names_[kind].clear(), outs_[kind].clear(), marks_[kind].clear();
        ++turn_;
    }

    Text name(size_t kind, uint32_t number) const { return names_[kind].at(number); }

    // Whether a URL is of the plain kind; then its parts that are not known are asked about.
    bool ask(Text url) {
        return plain(url) && walk(url, [this](Text) {}, [this](Kind kind, Text text) {
                   bool fresh;
                   uint32_t number = names_[kind].put(text, fresh);
                   if (outs_[kind].has(number)) return true;
                   if (number >= marks_[kind].size()) marks_[kind].resize(number + 1, 0);
                   if (marks_[kind][number] != turn_) asked[kind].push_back(number);
                   marks_[kind][number] = turn_;
                   return true;
               });
    }

    void settle(size_t kind, size_t place, Text out) { outs_[kind].set(asked[kind][place], out); }

    // The URL as it goes out; false if a part of it was not settled.
    bool write(Text url, std::string &into) const {
        return walk(url, [&](Text text) { into.append(text); }, [&](Kind kind, Text text) {
            uint32_t number = names_[kind].find(text);
            if (number == NONE || !outs_[kind].has(number)) return false;
            into.append(outs_[kind].at(number));
            return true;
        });
    }

  private:
    static constexpr uint32_t MOST = 200000;

    // A scheme, a host, maybe a port; printable ASCII, without what makes a URL be read in another way.
    static bool plain(Text url) {
        for (char sign : url)
            if (sign <= ' ' || sign > '~' || std::strchr("@#[]\\\"", sign)) return false;
        size_t scheme = url.find("://");
        if (scheme == Text::npos || scheme == 0 || scheme > 31 || !letter(url[0])) return false;
        for (char sign : url.substr(0, scheme))
            if (!letter(sign) && !digit(sign) && !std::strchr("+.-", sign)) return false;
        size_t host = scheme + 3, end = std::min(url.find_first_of("/?:", host), url.size());
        if (end == host) return false;
        if (end < url.size() && url[end] == ':') {
            size_t last = end + 1;
            while (last < url.size() && digit(url[last])) ++last;
            if (last == end + 1 || last > end + 6 || (last < url.size() && url[last] != '/' && url[last] != '?')) return false;
        }
        return true;
    }

    static bool letter(char sign) { return (sign >= 'a' && sign <= 'z') || (sign >= 'A' && sign <= 'Z'); }

    static bool digit(char sign) { return sign >= '0' && sign <= '9'; }

    // What stands before an account.
    static bool home(Text segment) {
        std::string low(segment);
        for (char &sign : low)
            if (sign >= 'A' && sign <= 'Z') sign = static_cast<char>(sign + 32);
        return low == "users" || low == "home" || low == "profiles";
    }

    // Calls `keep` for what stays and `part` for each part, in order; false where `part` is, or where an account may follow.
    template <class Keep, class Part> static bool walk(Text url, Keep keep, Part part) {
        size_t host = url.find("://") + 3, end = std::min(url.find_first_of("/?:", host), url.size());
        keep(url.substr(0, host));
        if (!part(HOST, url.substr(host, end - host))) return false;
        size_t path = std::min(url.find_first_of("/?", end), url.size()), query = std::min(url.find('?', path), url.size());
        keep(url.substr(end, path - end));
        if (query - path < 2) keep(url.substr(path, query - path)), path = query;
        while (path < query) {
            size_t first = path;
            while (path < query && url[path] == '/') ++path;
            keep(url.substr(first, path - first));
            first = path;
            while (path < query && url[path] != '/') ++path;
            Text segment = url.substr(first, path - first);
            if (!segment.empty() && (home(segment) || !part(SEGMENT, segment))) return false;
        }
        if (query == url.size()) return true;
        keep(url.substr(query, 1));
        for (size_t place = query + 1; place < url.size();) {
            size_t last = std::min(url.find_first_of("&;", place), url.size());
            if (!pair(url.substr(place, last - place), keep, part)) return false;
            if (last < url.size()) keep(url.substr(last, 1));
            place = last + 1;
        }
        return true;
    }

    template <class Keep, class Part> static bool pair(Text text, Keep keep, Part part) {
        size_t equal = text.find('=');
        if (equal == Text::npos) return text.empty() || part(VALUE, text);
        Text value = text.substr(equal + 1);
        if (equal > 0 && !part(PARAMETER, text.substr(0, equal))) return false;
        keep(text.substr(equal, 1));
        bool number = value.size() < 3;
        for (char sign : value) number = number && digit(sign);
        if (!number) return part(VALUE, value);
        keep(value);
        return true;
    }

    Interner names_[KINDS];
    Outs outs_[KINDS];
    std::vector<uint64_t> marks_[KINDS];
    uint64_t turn_ = 0;
};

}  // namespace tacit
