// One line after the other: what stays as it is, which values are to be treated, and which lines are left to another reader.
#pragma once

#include <functional>

#include "json.h"

namespace tacit {

// What a policy says about a key at its place.
enum Flag : uint8_t { INSIDE = 1, VALUE = 2, DROP = 4, UNKNOWN = 8, SLOW = 16, BELOW = 32 };

// What happens to the values of a rule.
enum Mode : uint8_t { KEEP, LOOKED_UP, SEARCHED, ELSEWHERE };

constexpr int32_t BYTES = -1, LIST = -2;

// A piece of a line's result: bytes of the line, or (rule >= 0) a value, whose number stands where the size of others does. For columns there is one
// for each value, and before the values of a list one that says so; nothing for what stands between values.
struct Piece {
    const char *place;
    uint32_t size;
    int32_t rule;
    uint32_t node;
};

// What has stood at a key in this batch.
enum Seen : uint8_t { AN_OBJECT = 1, NO_OBJECT = 2 };

struct Node {
    uint32_t parent;
    int32_t rule;
    uint8_t flags;
    uint32_t next, first;
    uint64_t line, unknown;
    uint8_t seen;
};

constexpr int DEEPEST = 32;
constexpr uint32_t MOST_KEYS = 2000, MOST_NODES = 20000, LONGEST_KEY = 1024;
constexpr size_t LONGEST_LINE = 1 << 16;

// Values of one rule.
struct Values {
    Mode mode = KEEP;
    Interner raw;
    Outs out;
    std::vector<uint64_t> batch;
    std::vector<uint32_t> fresh, whole;
};

class Scanner {
  public:
    using Resolve = std::function<int64_t(uint32_t parent, Text key, uint32_t number)>;

    // Texts that are searched have one `Interner` for all rules.
    Scanner(const std::vector<Mode> &modes, Interner &texts) : values(modes.size()), texts_(texts) {
        for (size_t rule = 0; rule < modes.size(); ++rule) values[rule].mode = modes[rule];
        forget();
    }

    std::vector<Values> values;
    std::vector<Node> nodes;
    std::vector<Piece> pieces;
    bool failed = false;     // a question was not answered
    bool irregular = false;  // a field had a value of a kind for which there is no rule
    bool columns = false;    // pieces are to become columns, not lines

    void begin(bool as_columns) {
        failed = irregular = false;
        columns = as_columns;
        for (Node &node : nodes) node.seen = 0, node.unknown = 0;
    }

    void forget() {
        keys_.clear();
        nodes.assign(1, Node{NONE, -1, INSIDE, NONE, NONE, 0, 0, 0});
        bool fresh;
        keys_.put(Text(), fresh);
    }

    // Whether the line was read. If not, it left nothing.
    bool line(Text text, const Resolve &resolve) {
        size_t begin = first_ = pieces.size();
        unknown_.clear();
        found_.clear();
        ++line_;
        count_ = 0;
        resolve_ = &resolve;
        place_ = after_space(text.data(), end_ = text.data() + text.size());
        bool good = text.size() <= LONGEST_LINE && place_ < end_ && *place_ == '{' && object(0, true, 0) && after_space(place_, end_) == end_;
        if (!good) {
            pieces.resize(begin);
            return false;
        }
        for (uint32_t node : unknown_) ++nodes[node].unknown;
        number();
        return true;
    }

  private:
    struct Found {
        size_t piece;
        uint64_t hash;
    };

    Interner &interner(int32_t rule) {
        Values &own = values[static_cast<size_t>(rule)];
        return own.mode == SEARCHED ? texts_ : own.raw;
    }

    // Give the values of a line that was read their numbers.
    void number() {
        for (int step = 1; step <= 2; ++step)
            for (const Found &found : found_) interner(pieces[found.piece].rule).expect(found.hash, step);
        bool fresh;
        for (const Found &found : found_) {
            Piece &piece = pieces[found.piece];
            piece.size = interner(piece.rule).put(Text(piece.place, piece.size), found.hash, fresh);
        }
    }

    bool object(uint32_t node, bool shown, int depth) {
        if (depth > DEEPEST) return false;
        if (shown) put(place_, 1);
        place_ = after_space(place_ + 1, end_);
        const char *comma = nullptr;
        bool some = false;
        uint32_t before = NONE;
        if (place_ < end_ && *place_ == '}') return close(shown);
        for (;;) {
            const char *key = place_, *last = key < end_ && *key == '"' ? key_end(key) : nullptr;
            if (last == nullptr || ++count_ > MOST_KEYS) return false;
            uint32_t child = child_of(node, Text(key + 1, static_cast<size_t>(last - key - 2)), before);
            if (child == NONE || nodes[child].line == line_) return false;
            nodes[child].line = line_;
            before = child;
            const char *colon = after_space(last, end_);
            if (colon >= end_ || *colon != ':') return false;
            place_ = after_space(colon + 1, end_);
            uint8_t flags = nodes[child].flags;
            if (flags & SLOW) return false;
            if (flags & (UNKNOWN | DROP | BELOW)) {
                if (flags & UNKNOWN) unknown_.push_back(child);
                if (!value(child, false, depth)) return false;
            } else {
                if (shown && some) put(comma, 1);
                if (shown) put(key, static_cast<uint32_t>(last - key)), put(colon, 1);
                if (!value(child, shown, depth)) return false;
                some = true;
            }
            place_ = after_space(place_, end_);
            if (place_ >= end_) return false;
            if (*place_ == '}') return close(shown);
            if (*place_ != ',') return false;
            comma = place_;
            place_ = after_space(place_ + 1, end_);
        }
    }

    bool close(bool shown) {
        if (shown) put(place_, 1);
        ++place_;
        return true;
    }

    bool value(uint32_t node, bool shown, int depth) {
        if (place_ >= end_) return false;
        bool inside = *place_ == '{';
        if (shown && !(nodes[node].flags & (inside ? INSIDE : VALUE))) {
            irregular = true;
            return false;
        }
        if (shown) nodes[node].seen |= inside ? AN_OBJECT : NO_OBJECT;
        if (inside) return object(node, shown, depth + 1);
        return *place_ == '[' ? list(node, shown) : scalar(node, shown);
    }

    bool list(uint32_t node, bool shown) {
        if (shown && columns) pieces.push_back({place_, 0, LIST, node});
        if (shown) put(place_, 1);
        place_ = after_space(place_ + 1, end_);
        if (place_ < end_ && *place_ == ']') return close(shown);
        for (;;) {
            if (place_ >= end_ || *place_ == '{' || *place_ == '[' || !scalar(node, shown)) return false;
            place_ = after_space(place_, end_);
            if (place_ >= end_) return false;
            if (*place_ == ']') return close(shown);
            if (*place_ != ',') return false;
            if (shown) put(place_, 1);
            place_ = after_space(place_ + 1, end_);
        }
    }

    bool scalar(uint32_t node, bool shown) {
        const char *begin = place_;
        bool text = *begin == '"', missing = *begin == 'n';
        const char *last = text ? string_end(begin, end_) : *begin >= 'a' ? word_end(begin, end_) : integer_end(begin, end_);
        if (last == nullptr) return false;
        place_ = last;
        if (!shown) return true;
        uint32_t size = static_cast<uint32_t>(last - begin);
        int32_t rule = nodes[node].rule;
        Values &own = values[static_cast<size_t>(rule)];
        if (own.mode == KEEP || missing || (own.mode == SEARCHED && !text)) {
            if (columns)
                pieces.push_back({begin, size, BYTES, node});
            else
                put(begin, size);
            return true;
        }
        found_.push_back({pieces.size(), hash_of(Text(begin, size))});
        pieces.push_back({begin, size, rule, node});
        interner(rule).expect(found_.back().hash, 0);
        return true;
    }

    void put(const char *place, uint32_t size) {
        if (columns) return;
        if (pieces.size() > first_ && pieces.back().rule < 0 && pieces.back().place + pieces.back().size == place)
            pieces.back().size += size;
        else
            pieces.push_back({place, size, BYTES, 0});
    }

    const char *key_end(const char *place) const {
        const char *last = next_sign(place + 1, end_);
        return last < end_ && *last == '"' && last - place < LONGEST_KEY ? last + 1 : nullptr;
    }

    uint32_t child_of(uint32_t parent, Text key, uint32_t before) {
        uint32_t &hint = before == NONE ? nodes[parent].first : nodes[before].next;
        if (hint != NONE && nodes[hint].parent == parent && keys_.at(hint).substr(4) == key) return hint;
        name_.assign(reinterpret_cast<const char *>(&parent), 4);
        name_.append(key);
        uint32_t found = keys_.find(name_);
        if (found == NONE) found = made(parent, key);
        if (found != NONE) (before == NONE ? nodes[parent].first : nodes[before].next) = found;
        return found;
    }

    uint32_t made(uint32_t parent, Text key) {
        if (nodes.size() >= MOST_NODES) return NONE;
        int64_t answer = BELOW;
        if (!(nodes[parent].flags & (UNKNOWN | DROP | BELOW))) {
            answer = (*resolve_)(parent, key, static_cast<uint32_t>(nodes.size()));
            if (answer < 0) {
                failed = true;
                return NONE;
            }
        }
        bool fresh;
        uint32_t number = keys_.put(name_, fresh);
        nodes.push_back({parent, static_cast<int32_t>(answer >> 8) - 1, static_cast<uint8_t>(answer & 0xFF), NONE, NONE, 0, 0, 0});
        return number;
    }

    Interner &texts_;
    Interner keys_;
    std::string name_;
    std::vector<uint32_t> unknown_;
    std::vector<Found> found_;
    const Resolve *resolve_ = nullptr;
    const char *place_ = nullptr, *end_ = nullptr;
    size_t first_ = 0;
    uint64_t line_ = 0;
    uint32_t count_ = 0;
};

}  // namespace tacit
