// Columns of values as Arrow lays them out in memory (Arrow Columnar Format, «Physical Memory Layout»): a bit per place that says whether there is a
// value, and the values one after the other.
#pragma once

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
    Bits valid;

    uint8_t kind() const { return kind_; }

    uint32_t size() const { return size_; }

    // Says of which kind values are, after some that are null.
    void become(uint8_t kind) {
        kind_ = kind;
        if (kind == TEXT) ends_.assign(size_ + 1, 0);
        if (kind == INTEGER) data_.assign(size_ * sizeof(int64_t), '\0');
        for (uint32_t place = 0; kind == BOOLEAN && place < size_; ++place) bits_.add(false);
    }

    void missing() { next(false); }

    // False, and nothing is added, for a value of another kind.
    bool add(Text raw) {
        if (raw[0] == 'n') return missing(), true;
        if (kind_ == NOTHING) become(kind_of(raw));
        if (kind_ == MIXED || (kind_ == TEXT ? raw[0] != '"' : kind_of(raw) != kind_)) return false;
        if (kind_ == TEXT) {
            text(raw.substr(1, raw.size() - 2), raw);
            next(true);
        } else {
            next(true, kind_ == INTEGER ? integer_of(raw) : raw[0] == 't');
        }
        return true;
    }

    Text data() const { return kind_ == BOOLEAN ? Text(bits_.bytes()) : Text(data_); }

    Text ends() const { return Text(reinterpret_cast<const char *>(ends_.data()), ends_.size() * sizeof(int32_t)); }

  private:
    void next(bool some, int64_t value = 0) {
        valid.add(some);
        ++size_;
        if (kind_ == TEXT) ends_.push_back(static_cast<int32_t>(data_.size()));
        if (kind_ == INTEGER) data_.append(reinterpret_cast<const char *>(&value), sizeof value);
        if (kind_ == BOOLEAN) bits_.add(value != 0);
    }

    void text(Text inside, Text raw) {
        if (std::memchr(inside.data(), '\\', inside.size()) != nullptr) {
            read_string(raw, plain_);
            inside = plain_;
        }
        if (data_.size() + inside.size() > std::numeric_limits<int32_t>::max()) throw std::length_error("more text than a column holds");
        data_.append(inside);
    }

    uint8_t kind_ = NOTHING;
    uint32_t size_ = 0;
    std::string data_, plain_;
    std::vector<int32_t> ends_;
    Bits bits_;
};

// What stands at one key, row by row: values of one kind, or lists of them.
class Column {
  public:
    explicit Column(uint32_t node) : node(node) {}

    uint32_t node;
    bool mixed = false;  // there are values of several kinds: it is to be written otherwise
    bool lists = false;
    Slots slots;
    Bits present;                   // which rows hold a list
    std::vector<int32_t> ends{0};  // where each list ends

    void list(uint32_t row) {
        if (rows_ == 0 && slots.kind() == NOTHING) lists = true;
        if (!lists) mixed = true;
        if (mixed) return;
        fill(row);
        close(true);
    }

    void value(uint32_t row, Text raw) {
        bool inside = lists && rows_ == row + 1;
        if (raw[0] == 'n' && !inside) return;
        if (lists && !inside) mixed = true;
        if (mixed) return;
        if (!lists) fill(row);
        mixed = !slots.add(raw) || (lists && slots.kind() == BOOLEAN);
        if (lists)
            ends.back() = static_cast<int32_t>(slots.size());
        else
            ++rows_;
    }

    // Rows up to this one have nothing more.
    void fill(uint32_t row) {
        while (rows_ < row)
            if (lists)
                close(false);
            else
                slots.missing(), ++rows_;
    }

    void end(uint32_t rows) {
        fill(rows);
        if (lists && slots.kind() == NOTHING) slots.become(TEXT);
    }

  private:
    void close(bool some) {
        present.add(some);
        ends.push_back(static_cast<int32_t>(slots.size()));
        ++rows_;
    }

    uint32_t rows_ = 0;
};

}  // namespace tacit
