// Columns of values as Arrow lays them out in memory (Arrow Columnar Format, «Physical Memory Layout»): a bit per place that says whether there is a
// value, and the values one after the other.
#pragma once

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "json.h"

namespace tacit {

// What the values of a column are; MIXED for those that no column of Arrow holds as they are.
enum Kind : uint8_t { NOTHING = 0, TEXT = 1, INTEGER = 2, BOOLEAN = 4, MIXED = 8 };

// Of a value as JSON. Integers of more than 18 digits and fractions have no column here.
inline uint8_t kind_of(Text raw) {
    if (raw.empty()) return MIXED;
    switch (raw[0]) {
        case '"': return TEXT;
        case 'n': return NOTHING;
        case 't': case 'f': return BOOLEAN;
        default: return integer_end(raw.data(), raw.data() + raw.size()) == raw.data() + raw.size() ? INTEGER : MIXED;
    }
}

inline int64_t integer_of(Text raw) {
    bool minus = raw[0] == '-';
    int64_t value = 0;
    for (char digit : raw.substr(minus)) value = 10 * value + (digit - '0');
    return minus ? -value : value;
}

// A bit per place, the lowest of a byte first.
class Bits {
  public:
    void add(bool bit) {
        if (size_ % 8 == 0) bytes_.push_back(0);
        if (bit)
            bytes_.back() = static_cast<char>(bytes_.back() | 1 << size_ % 8);
        else
            ++missing_;
        ++size_;
    }

    size_t missing() const { return missing_; }

    const std::string &bytes() const { return bytes_; }

  private:
    std::string bytes_;
    size_t size_ = 0, missing_ = 0;
};

// Values of one kind, given as JSON.
class Slots {
  public:
    explicit Slots(uint8_t kind) : kind_(kind) {
        if (kind == TEXT) ends_.push_back(0);
    }

    uint32_t size() const { return size_; }

    // False, and nothing is added, for a value of another kind.
    bool add(Text raw) {
        if (raw[0] != 'n' && (kind_ == TEXT ? raw[0] != '"' : kind_of(raw) != kind_)) return false;
        bool some = kind_ != NOTHING && raw[0] != 'n';
        valid.add(some);
        ++size_;
        if (kind_ == TEXT) {
            if (some) text(raw);
            if (data_.size() > std::numeric_limits<int32_t>::max()) throw std::length_error("more text than a column holds");
            ends_.push_back(static_cast<int32_t>(data_.size()));
        } else if (kind_ == INTEGER) {
            int64_t value = some ? integer_of(raw) : 0;
            data_.append(reinterpret_cast<const char *>(&value), sizeof value);
        } else if (kind_ == BOOLEAN) {
            bits_.add(raw[0] == 't');
        }
        return true;
    }

    Text data() const { return kind_ == BOOLEAN ? Text(bits_.bytes()) : Text(data_); }

    Text ends() const { return Text(reinterpret_cast<const char *>(ends_.data()), ends_.size() * sizeof(int32_t)); }

    Bits valid;

  private:
    void text(Text raw) {
        Text inside = raw.substr(1, raw.size() - 2);
        if (std::memchr(inside.data(), '\\', inside.size()) != nullptr) {
            read_string(raw, plain_);
            inside = plain_;
        }
        data_.append(inside);
    }

    uint8_t kind_;
    uint32_t size_ = 0;
    std::string data_, plain_;
    std::vector<int32_t> ends_;
    Bits bits_;
};

// The values of one key, in the order of rows.
struct Cells {
    struct Cell {
        uint32_t row, piece;
    };

    uint32_t node = 0;
    bool lists = false;      // whether the first of them is a list
    uint8_t kind = NOTHING;  // of the first of them that is not null, which may stand in a list
    std::vector<Cell> cells;
};

}  // namespace tacit
