// Many short signs at once in one pass (Aho & Corasick 1975), ASCII letters of either case. Says for each group whether any of its signs is there.
#pragma once

#include <stdexcept>

#include "interner.h"

namespace tacit {

class Signs {
  public:
    // Signs in lower case; that of place i belongs to the groups of bits i.
    Signs(const std::vector<std::string> &signs, const std::vector<uint32_t> &groups) : groups_(1, 0) {
        for (const std::string &sign : signs)
            for (unsigned char letter : sign)
                if (!class_[letter]) class_[letter] = ++classes_;
        for (uint32_t sign = 'A'; sign <= 'Z'; ++sign) class_[sign] = class_[sign + 32];
        next_.assign(WIDE, 0);
        for (size_t i = 0; i < signs.size(); ++i) add(signs[i], groups[i]);
        link();
    }

    uint32_t in(Text text) const {
        uint32_t state = 0, found = 0;
        for (unsigned char sign : text) {
            state = next_[state | class_[sign]];
            found |= groups_[state / WIDE];
        }
        return found;
    }

  private:
    // Rows of one length, so that a state is the place of its row. Bytes that no sign holds share the first class.
    static constexpr uint32_t WIDE = 64;

    void add(const std::string &sign, uint32_t group) {
        uint32_t state = 0;
        for (unsigned char letter : sign) {
            if (class_[letter] >= WIDE) throw std::length_error("signs of too many different letters");
            if (!next_[state | class_[letter]]) {
                next_[state | class_[letter]] = static_cast<uint32_t>(groups_.size()) * WIDE;
                next_.resize(next_.size() + WIDE, 0);
                groups_.push_back(0);
            }
            state = next_[state | class_[letter]];
        }
        groups_[state / WIDE] |= group;
    }

    void link() {
        std::vector<uint32_t> order{0}, fall(groups_.size(), 0);
        for (size_t place = 0; place < order.size(); ++place) {
            uint32_t state = order[place];
            for (uint32_t letter = 0; letter < WIDE; ++letter) {
                uint32_t &next = next_[state | letter], other = next_[fall[state / WIDE] | letter];
                if (next == 0) {
                    next = state == 0 ? 0 : other;
                } else {
                    fall[next / WIDE] = state == 0 ? 0 : other;
                    groups_[next / WIDE] |= groups_[fall[next / WIDE] / WIDE];
                    order.push_back(next);
                }
            }
        }
    }

    uint32_t class_[256] = {}, classes_ = 0;
    std::vector<uint32_t> next_, groups_;
};

}  // namespace tacit
