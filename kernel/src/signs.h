// Many short signs at once in one pass (Aho & Corasick 1975), ASCII letters of either case. Says for each group whether any of its signs is there.
#pragma once

#include "interner.h"

namespace tacit {

class Signs {
  public:
    // Signs in lower case; that of place i belongs to the groups of bits i.
    Signs(const std::vector<std::string> &signs, const std::vector<uint32_t> &groups) : next_(256, 0), groups_(1, 0) {
        for (size_t i = 0; i < signs.size(); ++i) add(signs[i], groups[i]);
        link();
    }

    uint32_t in(Text text) const {
        uint32_t state = 0, found = 0;
        for (unsigned char sign : text) {
            state = next_[state << 8 | sign];
            found |= groups_[state];
        }
        return found;
    }

  private:
    void add(const std::string &sign, uint32_t group) {
        uint32_t state = 0;
        for (unsigned char letter : sign) {
            if (!next_[state << 8 | letter]) {
                next_[state << 8 | letter] = static_cast<uint32_t>(groups_.size());
                next_.resize(next_.size() + 256, 0);
                groups_.push_back(0);
            }
            state = next_[state << 8 | letter];
        }
        groups_[state] |= group;
    }

    void link() {
        std::vector<uint32_t> order{0}, fall(groups_.size(), 0);
        for (size_t place = 0; place < order.size(); ++place) {
            uint32_t state = order[place];
            for (uint32_t sign = 0; sign < 256; ++sign) {
                uint32_t &next = next_[state << 8 | sign], other = next_[fall[state] << 8 | sign];
                if (next == 0) {
                    next = state == 0 ? 0 : other;
                } else {
                    fall[next] = state == 0 ? 0 : other;
                    groups_[next] |= groups_[fall[next]];
                    order.push_back(next);
                }
            }
            for (uint32_t sign = 'A'; sign <= 'Z'; ++sign) next_[state << 8 | sign] = next_[state << 8 | (sign + 32)];
        }
    }

    std::vector<uint32_t> next_, groups_;
};

}  // namespace tacit
