// Equal texts get equal numbers: one copy of each in one block of memory, found by a hash under a random seed (logs are written by strangers).
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace tacit {

using Text = std::string_view;

constexpr uint32_t NONE = 0xFFFFFFFFu;

inline uint64_t random_word() {
    std::random_device device;
    return (uint64_t(device()) << 32) | device();
}

inline uint64_t mixed(uint64_t a, uint64_t b) {
    unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t word_at(const char *place, size_t bytes) {
    uint64_t word = 0;
    if (bytes) std::memcpy(&word, place, bytes);
    return word;
}

inline uint64_t hash_of(Text text) {
    static const uint64_t first = random_word() | 1, second = random_word() | 1, third = random_word() | 1;
    uint64_t state = first ^ text.size();
    const char *place = text.data();
    size_t left = text.size();
    for (; left >= 16; place += 16, left -= 16) state = mixed(word_at(place, 8) ^ second, word_at(place + 8, 8) ^ state);
    if (left > 8) return mixed(mixed(word_at(place, 8) ^ second, word_at(place + 8, left - 8) ^ state), third);
    return mixed(mixed(word_at(place, left) ^ second, state), third);
}

class Interner {
  public:
    // Bring what `put` will look at into the processor's cache, step by step: the slot, the entry, the bytes. Only a hint: nothing is decided here.
    void expect(uint64_t hash, int step) const {
        if (slots_.empty()) return;
        const uint32_t *slot = &slots_[hash & mask_];
        if (step == 0) return __builtin_prefetch(slot);
        if (*slot == NONE) return;
        const Entry *entry = &entries_[*slot];
        __builtin_prefetch(step == 1 ? static_cast<const void *>(entry) : bytes_.data() + entry->begin);
    }

    uint32_t put(Text text, bool &fresh) { return put(text, hash_of(text), fresh); }

    // The number of a text whose hash this is, and whether it is new.
    uint32_t put(Text text, uint64_t hash, bool &fresh) {
        if (2 * (entries_.size() + 1) > slots_.size()) grow();
        for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
            uint32_t number = slots_[slot];
            if (number == NONE) {
                fresh = true;
                slots_[slot] = static_cast<uint32_t>(entries_.size());
                entries_.push_back({bytes_.size(), static_cast<uint32_t>(text.size()), static_cast<uint32_t>(hash >> 32)});
                bytes_.append(text);
                return slots_[slot];
            }
            if (same(number, hash, text)) {
                fresh = false;
                return number;
            }
        }
    }

    // The number of a text that may not be there.
    uint32_t find(Text text) const {
        if (entries_.empty()) return NONE;
        uint64_t hash = hash_of(text);
        for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
            uint32_t number = slots_[slot];
            if (number == NONE || same(number, hash, text)) return number;
        }
    }

    // Valid until the next `put`.
    Text at(uint32_t number) const { return Text(bytes_.data() + entries_[number].begin, entries_[number].size); }

    uint32_t size() const { return static_cast<uint32_t>(entries_.size()); }

    size_t bytes() const { return bytes_.size(); }

    void clear() {
        bytes_.clear();
        entries_.clear();
        slots_.assign(slots_.size(), NONE);
    }

  private:
    struct Entry {
        uint64_t begin;
        uint32_t size, check;
    };

    bool same(uint32_t number, uint64_t hash, Text text) const {
        const Entry &entry = entries_[number];
        return entry.check == static_cast<uint32_t>(hash >> 32) && entry.size == text.size() &&
               (text.empty() || std::memcmp(bytes_.data() + entry.begin, text.data(), text.size()) == 0);
    }

    void grow() {
        size_t size = slots_.empty() ? 64 : 2 * slots_.size();
        slots_.assign(size, NONE);
        mask_ = size - 1;
        for (uint32_t number = 0; number < entries_.size(); ++number) {
            size_t slot = hash_of(at(number)) & mask_;
            while (slots_[slot] != NONE) slot = (slot + 1) & mask_;
            slots_[slot] = number;
        }
    }

    std::string bytes_;
    std::vector<Entry> entries_;
    std::vector<uint32_t> slots_;
    size_t mask_ = 0;
};

// Texts by number that may be replaced; the bytes of those replaced stay until `clear`.
class Outs {
  public:
    void set(uint32_t number, Text text) {
        if (number >= places_.size()) places_.resize(number + 1, {0, NONE});
        places_[number] = {bytes_.size(), static_cast<uint32_t>(text.size())};
        bytes_.append(text);
    }

    void forget(uint32_t number) {
        if (number < places_.size()) places_[number].size = NONE;
    }

    bool has(uint32_t number) const { return number < places_.size() && places_[number].size != NONE; }

    Text at(uint32_t number) const { return Text(bytes_.data() + places_[number].begin, places_[number].size); }

    // See `Interner::expect`.
    void expect(uint32_t number, int step) const {
        if (number < places_.size()) __builtin_prefetch(step == 0 ? static_cast<const void *>(&places_[number]) : bytes_.data() + places_[number].begin);
    }

    size_t bytes() const { return bytes_.size(); }

    void clear() {
        bytes_.clear();
        places_.clear();
    }

  private:
    struct Place {
        uint64_t begin;
        uint32_t size;
    };

    std::string bytes_;
    std::vector<Place> places_;
};

}  // namespace tacit
