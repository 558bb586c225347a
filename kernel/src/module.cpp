// The face towards Python: one object per policy and key. It says what is new; what becomes of it is worked out elsewhere.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <memory>

#include "columns.h"
#include "scanner.h"
#include "texts.h"
#include "urls.h"

namespace {

using namespace tacit;

constexpr uint32_t MOST_VALUES = 200000, MOST_TEXTS = 400000;
constexpr size_t MOST_BYTES = 128u << 20;

struct State {
    State(const std::vector<Mode> &modes, const std::vector<std::string> &signs, const std::vector<uint32_t> &groups)
        : texts(signs, groups), scanner(modes, texts.raws) {}

    Texts texts;
    Urls urls;
    Scanner scanner;
    std::vector<size_t> ends;      // pieces of each line that was read
    std::vector<uint32_t> touched;  // rules with fresh values
    uint64_t round = 0;
    bool scanning = false;
    std::string made;
    PyObject *lines = nullptr;  // keeps the bytes alive to which pieces point
    PyObject *asked = nullptr;  // texts that somebody is asked about
    PyObject *block = nullptr;  // the last block; its memory is used again once nobody else has it
    PyObject *resolve = nullptr;
};

struct Kernel {
    PyObject_HEAD
    State *state;
};

PyObject *failed(const std::exception &error) {
    if (dynamic_cast<const std::bad_alloc *>(&error)) return PyErr_NoMemory();
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
}

PyObject *string_of(Text text) { return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogatepass"); }

bool text_of(PyObject *object, Text &text) {
    Py_ssize_t size;
    const char *bytes;
    if (PyBytes_Check(object)) {
        bytes = PyBytes_AS_STRING(object);
        size = PyBytes_GET_SIZE(object);
    } else if ((bytes = PyUnicode_AsUTF8AndSize(object, &size)) == nullptr) {
        return false;
    }
    text = Text(bytes, static_cast<size_t>(size));
    return true;
}

template <class Range, class Make> PyObject *list_of(const Range &range, Make make) {
    PyObject *found = PyList_New(static_cast<Py_ssize_t>(range.size()));
    if (found == nullptr) return nullptr;
    Py_ssize_t place = 0;
    for (const auto &item : range) {
        PyObject *object;
        try {
            object = make(item);
        } catch (...) {
            Py_DECREF(found);
            throw;
        }
        if (object == nullptr) {
            Py_DECREF(found);
            return nullptr;
        }
        PyList_SET_ITEM(found, place++, object);
    }
    return found;
}

PyObject *numbers_of(const std::vector<uint32_t> &numbers) { return list_of(numbers, PyLong_FromUnsignedLong); }

bool list_given(PyObject *object, Py_ssize_t expected) {
    if (!PyList_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "expected a list");
    } else if (expected >= 0 && PyList_GET_SIZE(object) != expected) {
        PyErr_SetString(PyExc_ValueError, "expected one item for each asked about");
    } else {
        return true;
    }
    return false;
}

// Calls `take(place, text)` for each text of a list.
template <class Take> bool each(PyObject *list, Py_ssize_t expected, Take take) {
    if (!list_given(list, expected)) return false;
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(list); ++place) {
        Text text;
        if (!text_of(PyList_GET_ITEM(list, place), text)) return false;
        take(static_cast<size_t>(place), text);
    }
    return true;
}

bool filled(Kernel *self, PyObject *args) {
    const char *modes;
    Py_ssize_t size;
    PyObject *resolve, *signs, *groups;
    if (!PyArg_ParseTuple(args, "y#OO!O!", &modes, &size, &resolve, &PyList_Type, &signs, &PyList_Type, &groups)) return false;
    if (!PyCallable_Check(resolve)) {
        PyErr_SetString(PyExc_TypeError, "expected a function");
        return false;
    }
    try {
        std::vector<Mode> own;
        for (Py_ssize_t rule = 0; rule < size; ++rule) own.push_back(modes[rule] >= 0 && modes[rule] <= ELSEWHERE ? static_cast<Mode>(modes[rule]) : ELSEWHERE);
        std::vector<std::string> words;
        std::vector<uint32_t> bits;
        if (!each(signs, PyList_GET_SIZE(groups), [&](size_t, Text text) { words.emplace_back(text); })) return false;
        for (Py_ssize_t place = 0; place < PyList_GET_SIZE(groups); ++place) bits.push_back(static_cast<uint32_t>(PyLong_AsUnsignedLongMask(PyList_GET_ITEM(groups, place))));
        if (PyErr_Occurred()) return false;
        self->state = new State(own, words, bits);
        self->state->resolve = Py_NewRef(resolve);
    } catch (const std::exception &error) {
        failed(error);
        return false;
    }
    return true;
}

PyObject *kernel_new(PyTypeObject *type, PyObject *args, PyObject *) {
    Kernel *self = reinterpret_cast<Kernel *>(type->tp_alloc(type, 0));
    if (self != nullptr && !filled(self, args)) Py_CLEAR(self);
    return reinterpret_cast<PyObject *>(self);
}

int kernel_traverse(Kernel *self, visitproc visit, void *arg) {
    if (self->state != nullptr) {
        Py_VISIT(self->state->resolve);
        Py_VISIT(self->state->lines);
        Py_VISIT(self->state->asked);
        Py_VISIT(self->state->block);
    }
    return 0;
}

int kernel_clear(Kernel *self) {
    if (self->state != nullptr) {
        Py_CLEAR(self->state->resolve);
        Py_CLEAR(self->state->lines);
        Py_CLEAR(self->state->asked);
        Py_CLEAR(self->state->block);
    }
    return 0;
}

void kernel_dealloc(Kernel *self) {
    PyObject_GC_UnTrack(self);
    kernel_clear(self);
    delete self->state;
    Py_TYPE(self)->tp_free(reinterpret_cast<PyObject *>(self));
}

PyObject *kernel_begin(Kernel *self, PyObject *) {
    State &own = *self->state;
    long flags = 0;
    if (own.scanning) {
        PyErr_SetString(PyExc_RuntimeError, "a batch is being scanned");
        return nullptr;
    }
    own.scanner.pieces.clear();
    own.ends.clear();
    own.touched.clear();
    Py_CLEAR(own.lines);
    Py_CLEAR(own.asked);
    ++own.round;
    if (own.texts.size() > MOST_TEXTS || own.texts.bytes() > MOST_BYTES) own.texts.clear(), flags |= 1;
    if (own.scanner.nodes.size() > MOST_NODES / 2) own.scanner.forget(), flags |= 2;
    for (Values &values : own.scanner.values) {
        values.fresh.clear();
        if (values.raw.size() > MOST_VALUES || values.raw.bytes() + values.out.bytes() > MOST_BYTES) values.raw.clear(), values.out.clear(), values.batch.clear();
    }
    own.texts.begin();
    own.urls.begin();
    return PyLong_FromLong(flags);
}

void note(State &own, size_t begin) {
    for (size_t place = begin; place < own.scanner.pieces.size(); ++place) {
        const Piece &piece = own.scanner.pieces[place];
        if (piece.rule < 0) continue;
        Values &values = own.scanner.values[static_cast<size_t>(piece.rule)];
        if (values.mode == SEARCHED) {
            own.texts.touch(piece.size);
        } else if (!values.out.has(piece.size)) {
            if (piece.size >= values.batch.size()) values.batch.resize(values.raw.size(), 0);
            if (values.batch[piece.size] == own.round) continue;
            values.batch[piece.size] = own.round;
            if (values.fresh.empty()) own.touched.push_back(static_cast<uint32_t>(piece.rule));
            values.fresh.push_back(piece.size);
        }
    }
}

struct Busy {
    explicit Busy(bool &flag) : flag_(flag) { flag_ = true; }
    ~Busy() { flag_ = false; }
    bool &flag_;
};

PyObject *kernel_scan(Kernel *self, PyObject *args) {
    State &own = *self->state;
    PyObject *lines;
    int columns = 0;
    if (!PyArg_ParseTuple(args, "O|p", &lines, &columns) || !list_given(lines, -1)) return nullptr;
    if (own.lines != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "expected one scan per batch");
        return nullptr;
    }
    Busy busy(own.scanning);
    try {
        // A tuple of our own: whoever has the list may change it.
        if ((own.lines = PyList_AsTuple(lines)) == nullptr) return nullptr;
        own.scanner.begin(columns != 0);
        auto resolve = [&own](uint32_t parent, Text key, uint32_t number) -> int64_t {
            PyObject *answer = PyObject_CallFunction(own.resolve, "Is#I", parent, key.data(), static_cast<Py_ssize_t>(key.size()), number);
            int64_t code = answer == nullptr ? -1 : PyLong_AsLongLong(answer);
            Py_XDECREF(answer);
            if (!PyErr_Occurred() && (code < 0 || (code >> 8) > static_cast<int64_t>(own.scanner.values.size()))) PyErr_SetString(PyExc_ValueError, "no such rule");
            return PyErr_Occurred() ? -1 : code;
        };
        std::vector<uint32_t> others;
        for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(own.lines); ++place) {
            Text text;
            PyObject *line = PyTuple_GET_ITEM(own.lines, place);
            if (!PyBytes_Check(line)) {
                PyErr_SetString(PyExc_TypeError, "expected lines of bytes");
                return nullptr;
            }
            text = Text(PyBytes_AS_STRING(line), static_cast<size_t>(PyBytes_GET_SIZE(line)));
            size_t begin = own.scanner.pieces.size();
            if (own.scanner.line(text, resolve)) {
                note(own, begin);
                own.ends.push_back(own.scanner.pieces.size());
            } else if (own.scanner.failed) {
                return nullptr;
            } else {
                others.push_back(static_cast<uint32_t>(place));
            }
        }
        if (own.scanner.irregular) Py_RETURN_NONE;
        return numbers_of(others);
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_touched(Kernel *self, PyObject *) { return numbers_of(self->state->touched); }

Values *values_of(State &own, Py_ssize_t rule) {
    if (rule >= 0 && static_cast<size_t>(rule) < own.scanner.values.size()) return &own.scanner.values[static_cast<size_t>(rule)];
    PyErr_SetString(PyExc_ValueError, "no such rule");
    return nullptr;
}

// The new values of a rule that are plain URLs go into `whole`, the others stay.
PyObject *kernel_urls(Kernel *self, PyObject *number) {
    State &own = *self->state;
    Values *values = values_of(own, PyLong_AsSsize_t(number));
    if (values == nullptr) return nullptr;
    try {
        for (auto &list : own.urls.asked) list.clear();
        std::vector<uint32_t> rest;
        values->whole.clear();
        for (uint32_t value : values->fresh) {
            Text raw = values->raw.at(value);
            bool taken = raw.size() > 2 && raw[0] == '"' && own.urls.ask(raw.substr(1, raw.size() - 2));
            (taken ? values->whole : rest).push_back(value);
        }
        values->fresh.swap(rest);
        PyObject *found = PyList_New(Urls::KINDS);
        for (size_t kind = 0; found != nullptr && kind < Urls::KINDS; ++kind) {
            PyObject *names = list_of(own.urls.asked[kind], [&](uint32_t name) { return string_of(own.urls.name(kind, name)); });
            if (names == nullptr)
                Py_CLEAR(found);
            else
                PyList_SET_ITEM(found, static_cast<Py_ssize_t>(kind), names);
        }
        return found;
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_settle_urls(Kernel *self, PyObject *args) {
    Py_ssize_t rule;
    PyObject *parts;
    if (!PyArg_ParseTuple(args, "nO", &rule, &parts)) return nullptr;
    State &own = *self->state;
    Values *values = values_of(own, rule);
    if (values == nullptr || !list_given(parts, Urls::KINDS)) return nullptr;
    try {
        for (size_t kind = 0; kind < Urls::KINDS; ++kind) {
            auto &asked = own.urls.asked[kind];
            PyObject *list = PyList_GET_ITEM(parts, static_cast<Py_ssize_t>(kind));
            if (!each(list, static_cast<Py_ssize_t>(asked.size()), [&](size_t place, Text text) { own.urls.settle(kind, place, text); })) return nullptr;
            asked.clear();
        }
        std::string url, out;
        for (uint32_t value : values->whole) {
            Text raw = values->raw.at(value);
            url.clear();
            out.clear();
            if (!own.urls.write(raw.substr(1, raw.size() - 2), url)) {
                PyErr_SetString(PyExc_RuntimeError, "expected every part to be settled");
                return nullptr;
            }
            write_string(url, out);
            values->out.set(value, out);
        }
        values->whole.clear();
    } catch (const std::exception &error) {
        return failed(error);
    }
    Py_RETURN_NONE;
}

PyObject *kernel_fresh(Kernel *self, PyObject *number) {
    Values *values = values_of(*self->state, PyLong_AsSsize_t(number));
    if (values == nullptr) return nullptr;
    try {
        std::string array = "[";
        for (uint32_t value : values->fresh) array.append(array.size() > 1 ? "," : "").append(values->raw.at(value));
        array.push_back(']');
        return PyBytes_FromStringAndSize(array.data(), static_cast<Py_ssize_t>(array.size()));
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_settle(Kernel *self, PyObject *args) {
    Py_ssize_t rule;
    PyObject *texts;
    if (!PyArg_ParseTuple(args, "nO", &rule, &texts)) return nullptr;
    Values *values = values_of(*self->state, rule);
    if (values == nullptr) return nullptr;
    try {
        if (!each(texts, static_cast<Py_ssize_t>(values->fresh.size()), [&](size_t place, Text text) { values->out.set(values->fresh[place], text); })) return nullptr;
        values->fresh.clear();
    } catch (const std::exception &error) {
        return failed(error);
    }
    Py_RETURN_NONE;
}

PyObject *kernel_unknown(Kernel *self, PyObject *) {
    try {
        std::vector<std::pair<size_t, uint64_t>> found;
        std::vector<Node> &nodes = self->state->scanner.nodes;
        for (size_t node = 0; node < nodes.size(); ++node)
            if (nodes[node].unknown) found.emplace_back(node, nodes[node].unknown), nodes[node].unknown = 0;
        return list_of(found, [](const auto &one) { return Py_BuildValue("nK", static_cast<Py_ssize_t>(one.first), one.second); });
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_mark(Kernel *self, PyObject *args) {
    Py_ssize_t node;
    int flags;
    if (!PyArg_ParseTuple(args, "ni", &node, &flags)) return nullptr;
    std::vector<Node> &nodes = self->state->scanner.nodes;
    if (node < 0 || static_cast<size_t>(node) >= nodes.size()) {
        PyErr_SetString(PyExc_ValueError, "no such node");
        return nullptr;
    }
    nodes[static_cast<size_t>(node)].flags = static_cast<uint8_t>(flags);
    Py_RETURN_NONE;
}

PyObject *kernel_add_texts(Kernel *self, PyObject *list) {
    try {
        std::vector<uint32_t> numbers;
        std::string raw;
        Texts &texts = self->state->texts;
        auto add = [&](size_t, Text text) {
            bool fresh;
            raw.clear();
            write_string(text, raw);
            numbers.push_back(texts.raws.put(raw, fresh));
            texts.touch(numbers.back());
        };
        return each(list, -1, add) ? numbers_of(numbers) : nullptr;
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_unprepared(Kernel *self, PyObject *) {
    try {
        std::vector<std::string> found;
        self->state->texts.unprepared(found);
        PyObject *texts = list_of(found, [](const std::string &text) { return string_of(text); });
        PyObject *masks = texts == nullptr ? nullptr : numbers_of(self->state->texts.masks);
        if (masks == nullptr) {
            Py_XDECREF(texts);
            return nullptr;
        }
        Py_XSETREF(self->state->asked, PyList_AsTuple(texts));
        if (self->state->asked == nullptr) {
            Py_DECREF(texts);
            Py_DECREF(masks);
            return nullptr;
        }
        return Py_BuildValue("NN", texts, masks);
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_accounts(Kernel *self, PyObject *) {
    try {
        Texts &own = self->state->texts;
        std::vector<uint32_t> found;
        own.announced(found);
        return list_of(found, [&own](uint32_t number) { return string_of(own.accounts.at(number)); });
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_prepare(Kernel *self, PyObject *args) {
    PyObject *texts;
    const char *lasting;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "Oy#", &texts, &lasting, &size)) return nullptr;
    Texts &own = self->state->texts;
    if (size != static_cast<Py_ssize_t>(own.asked.size())) {
        PyErr_SetString(PyExc_ValueError, "expected one mark for each text asked about");
        return nullptr;
    }
    try {
        if (!list_given(texts, size)) return nullptr;
        PyObject *asked = self->state->asked;
        for (Py_ssize_t place = 0; place < size; ++place) {
            PyObject *object = PyList_GET_ITEM(texts, place);
            bool same = asked != nullptr && place < PyTuple_GET_SIZE(asked) && object == PyTuple_GET_ITEM(asked, place);
            Text text;
            if (!same && !text_of(object, text)) return nullptr;
            own.prepare(static_cast<size_t>(place), same ? nullptr : &text, lasting[place] != 0);
        }
        Py_CLEAR(self->state->asked);
        own.asked.clear();
    } catch (const std::exception &error) {
        return failed(error);
    }
    Py_RETURN_NONE;
}

PyObject *kernel_learn(Kernel *self, PyObject *args) {
    PyObject *names, *pseudonyms, *parts;
    unsigned int version;
    int whole;
    if (!PyArg_ParseTuple(args, "O!O!O!Ip", &PyList_Type, &names, &PyList_Type, &pseudonyms, &PyList_Type, &parts, &version, &whole)) return nullptr;
    if (!list_given(pseudonyms, PyList_GET_SIZE(names)) || !list_given(parts, PyList_GET_SIZE(names))) return nullptr;
    try {
        Dictionary &own = self->state->texts.dictionary;
        own.whole = whole != 0;
        for (Py_ssize_t place = 0; place < PyList_GET_SIZE(names); ++place) {
            Text name, pseudonym, part;
            if (!text_of(PyList_GET_ITEM(names, place), name) || !text_of(PyList_GET_ITEM(pseudonyms, place), pseudonym) ||
                !text_of(PyList_GET_ITEM(parts, place), part))
                return nullptr;
            own.learn(name, pseudonym, part, version);
        }
    } catch (const std::exception &error) {
        return failed(error);
    }
    Py_RETURN_NONE;
}

PyObject *kernel_search(Kernel *self, PyObject *args) {
    unsigned int version;
    int first;
    if (!PyArg_ParseTuple(args, "Ip", &version, &first)) return nullptr;
    try {
        std::vector<std::string> found;
        self->state->texts.search(version, found, first != 0);
        return list_of(found, [](const std::string &text) { return string_of(text); });
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_treated(Kernel *self, PyObject *list) {
    try {
        Texts &own = self->state->texts;
        if (!each(list, static_cast<Py_ssize_t>(own.asked.size()), [&](size_t place, Text text) { own.treated(place, text); })) return nullptr;
        own.asked.clear();
    } catch (const std::exception &error) {
        return failed(error);
    }
    Py_RETURN_NONE;
}

PyObject *kernel_plain(Kernel *self, PyObject *list) {
    if (!list_given(list, -1)) return nullptr;
    try {
        std::vector<uint32_t> numbers;
        Texts &own = self->state->texts;
        for (Py_ssize_t place = 0; place < PyList_GET_SIZE(list); ++place) {
            unsigned long number = PyLong_AsUnsignedLong(PyList_GET_ITEM(list, place));
            if (PyErr_Occurred() || !own.ready(number)) {
                if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no such text");
                return nullptr;
            }
            numbers.push_back(static_cast<uint32_t>(number));
        }
        return list_of(numbers, [&own](uint32_t number) { return string_of(own.plain(number)); });
    } catch (const std::exception &error) {
        return failed(error);
    }
}

// Bytes written one behind the other into an array of bytes, which grows as it must.
class Block {
  public:
    Block(PyObject *array, size_t expected) : array_(array) { room(std::max(expected, static_cast<size_t>(PyByteArray_GET_SIZE(array)))); }

    Block &append(Text text) {
        if (text.size() > static_cast<size_t>(end_ - place_)) room(2 * size() + text.size());
        std::memcpy(place_, text.data(), text.size());
        place_ += text.size();
        return *this;
    }

    void push_back(char sign) { append(Text(&sign, 1)); }

    bool finish() { return PyByteArray_Resize(array_, static_cast<Py_ssize_t>(size())) == 0; }

  private:
    size_t size() const { return begin_ == nullptr ? 0 : static_cast<size_t>(place_ - begin_); }

    void room(size_t bytes) {
        size_t used = size();
        if (PyByteArray_Resize(array_, static_cast<Py_ssize_t>(bytes)) < 0) {
            PyErr_Clear();
            throw std::bad_alloc();
        }
        begin_ = PyByteArray_AS_STRING(array_);
        place_ = begin_ + used;
        end_ = begin_ + bytes;
    }

    PyObject *array_;
    char *begin_ = nullptr, *place_ = nullptr, *end_ = nullptr;
};

// What a piece of a line becomes; false if that was not worked out.
template <class Into> bool written(State &own, const Piece &piece, Into &into) {
    if (piece.rule < 0) {
        into.append(Text(piece.place, piece.size));
        return true;
    }
    Values &values = own.scanner.values[static_cast<size_t>(piece.rule)];
    if (values.mode == SEARCHED) {
        if (!own.texts.ready(piece.size)) return false;
        own.texts.written(piece.size, into);
        return true;
    }
    if (!values.out.has(piece.size)) return false;
    into.append(values.out.at(piece.size));
    return true;
}

// Bring what the pieces of a line become into the processor's cache.
void expect(const State &own, size_t begin, size_t end) {
    for (int step = 0; step < 2; ++step)
        for (size_t place = begin; place < end; ++place) {
            const Piece &piece = own.scanner.pieces[place];
            if (piece.rule >= 0) own.scanner.values[static_cast<size_t>(piece.rule)].out.expect(piece.size, step);
        }
}

// Calls `take` with each line that was read, treated. False if a value was not settled, or `take` says so.
template <class Into, class Take> bool each_line(State &own, Into &line, Take take) {
    if (own.scanner.columns) {
        PyErr_SetString(PyExc_RuntimeError, "expected lines, not columns, to be read");
        return false;
    }
    size_t place = 0;
    for (size_t number = 0; number < own.ends.size(); ++number) {
        expect(own, place, own.ends[number]);
        for (; place < own.ends[number]; ++place)
            if (!written(own, own.scanner.pieces[place], line)) {
                PyErr_SetString(PyExc_RuntimeError, "expected every value to be settled");
                return false;
            }
        if (!take(number)) return false;
    }
    return true;
}

PyObject *kernel_lines(Kernel *self, PyObject *) {
    State &own = *self->state;
    PyObject *found = PyList_New(static_cast<Py_ssize_t>(own.ends.size()));
    if (found == nullptr) return nullptr;
    try {
        std::string line;
        auto take = [&](size_t number) {
            PyObject *text = string_of(line);
            line.clear();
            if (text != nullptr) PyList_SET_ITEM(found, static_cast<Py_ssize_t>(number), text);
            return text != nullptr;
        };
        if (each_line(own, line, take)) return found;
    } catch (const std::exception &error) {
        failed(error);
    }
    Py_DECREF(found);
    return nullptr;
}

PyObject *kernel_block(Kernel *self, PyObject *) {
    State &own = *self->state;
    try {
        // Fresh memory costs more than what is written into it. Whoever keeps a block keeps it as it is.
        if (own.block == nullptr || Py_REFCNT(own.block) > 1) Py_XSETREF(own.block, PyByteArray_FromStringAndSize(nullptr, 0));
        if (own.block == nullptr) return nullptr;
        Block block(own.block, 640 * own.ends.size());
        bool good = each_line(own, block, [&](size_t) { return block.push_back('\n'), true; });
        return block.finish() && good ? Py_NewRef(own.block) : nullptr;
    } catch (const std::exception &error) {
        return failed(error);
    }
}

// The value of a piece as JSON, treated; empty if that was not worked out.
Text value_of(State &own, const Piece &piece, std::string &made) {
    if (piece.rule < 0) return Text(piece.place, piece.size);
    Values &values = own.scanner.values[static_cast<size_t>(piece.rule)];
    if (values.mode != SEARCHED) return values.out.has(piece.size) ? values.out.at(piece.size) : Text();
    made.clear();
    return written(own, piece, made) ? Text(made) : Text();
}

Text settled(State &own, const Piece &piece) {
    Text raw = value_of(own, piece, own.made);
    if (raw.empty()) throw std::runtime_error("expected every value to be settled");
    return raw;
}

PyObject *bytes_of(Text bytes) { return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size())); }

PyObject *valid_of(const Bits &valid) { return valid.missing() ? bytes_of(valid.bytes()) : Py_NewRef(Py_None); }

// The columns of a batch, row by row, keys in the order of their appearance.
std::vector<Column> gathered(State &own) {
    std::vector<Column> found;
    std::vector<uint32_t> places(own.scanner.nodes.size(), NONE);
    size_t place = 0;
    for (uint32_t row = 0; row < own.ends.size(); ++row) {
        expect(own, place, own.ends[row]);
        for (; place < own.ends[row]; ++place) {
            const Piece &piece = own.scanner.pieces[place];
            if (places[piece.node] == NONE) {
                places[piece.node] = static_cast<uint32_t>(found.size());
                found.emplace_back(piece.node);
            }
            Column &column = found[places[piece.node]];
            if (piece.rule == LIST)
                column.list(row);
            else
                column.value(row, settled(own, piece));
        }
    }
    for (Column &column : found) column.end(static_cast<uint32_t>(own.ends.size()));
    return found;
}

// All that stands at a key, as a JSON array.
std::string array_of(State &own, uint32_t node) {
    std::string array = "[";
    size_t place = 0;
    for (uint32_t row = 0; row < own.ends.size(); ++row) {
        if (row) array.push_back(',');
        bool list = false, some = false;
        for (; place < own.ends[row]; ++place) {
            const Piece &piece = own.scanner.pieces[place];
            if (piece.node != node) continue;
            if (piece.rule == LIST) {
                list = true;
                array.push_back('[');
                continue;
            }
            if (list && some) array.push_back(',');
            some = true;
            array.append(settled(own, piece));
        }
        array.append(list ? "]" : some ? "" : "null");
    }
    return array.append("]");
}

// Node, kind, lists (which rows hold one and where it ends), values (how many, which there are, where they end), their bytes.
PyObject *parts_of(State &own, const Column &column) {
    if (column.mixed) return Py_BuildValue("IBOON", column.node, static_cast<unsigned char>(MIXED), Py_None, Py_None, bytes_of(array_of(own, column.node)));
    const Slots &slots = column.slots;
    Text ends(reinterpret_cast<const char *>(column.ends.data()), column.ends.size() * sizeof(int32_t));
    PyObject *outer = column.lists ? Py_BuildValue("NN", valid_of(column.present), bytes_of(ends)) : Py_NewRef(Py_None);
    PyObject *inner = Py_BuildValue("INN", slots.size(), valid_of(slots.valid), bytes_of(slots.ends()));
    return Py_BuildValue("IBNNN", column.node, slots.kind(), outer, inner, bytes_of(slots.data()));
}

PyObject *kernel_columns(Kernel *self, PyObject *) {
    State &own = *self->state;
    if (!own.scanner.columns) {
        PyErr_SetString(PyExc_RuntimeError, "expected columns, not lines, to be read");
        return nullptr;
    }
    try {
        return list_of(gathered(own), [&own](const Column &column) { return parts_of(own, column); });
    } catch (const std::length_error &) {
        Py_RETURN_NONE;
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyObject *kernel_seen(Kernel *self, PyObject *) {
    try {
        std::vector<std::pair<size_t, uint8_t>> found;
        const std::vector<Node> &nodes = self->state->scanner.nodes;
        for (size_t node = 0; node < nodes.size(); ++node)
            if (nodes[node].seen) found.emplace_back(node, nodes[node].seen);
        return list_of(found, [](const auto &one) { return Py_BuildValue("nB", static_cast<Py_ssize_t>(one.first), one.second); });
    } catch (const std::exception &error) {
        return failed(error);
    }
}

PyMethodDef METHODS[] = {
    {"begin", reinterpret_cast<PyCFunction>(kernel_begin), METH_NOARGS, "Begin a batch; bit 1: the dictionary was forgotten, bit 2: the keys were."},
    {"scan", reinterpret_cast<PyCFunction>(kernel_scan), METH_VARARGS, "Read lines, as columns or not; gives the places of those that were not read, or None for a batch that is to be read elsewhere."},
    {"touched", reinterpret_cast<PyCFunction>(kernel_touched), METH_NOARGS, "Rules with new values."},
    {"fresh", reinterpret_cast<PyCFunction>(kernel_fresh), METH_O, "New values of a rule, as a JSON array."},
    {"settle", reinterpret_cast<PyCFunction>(kernel_settle), METH_VARARGS, "What became of the new values of a rule, as JSON texts."},
    {"urls", reinterpret_cast<PyCFunction>(kernel_urls), METH_O, "Take plain URLs out of a rule's new values; gives hosts, segments, parameters, values."},
    {"settle_urls", reinterpret_cast<PyCFunction>(kernel_settle_urls), METH_VARARGS, "What became of those four lists."},
    {"unknown", reinterpret_cast<PyCFunction>(kernel_unknown), METH_NOARGS, "How often each unknown key was left out."},
    {"mark", reinterpret_cast<PyCFunction>(kernel_mark), METH_VARARGS, "Say anew what a policy says of a key."},
    {"add_texts", reinterpret_cast<PyCFunction>(kernel_add_texts), METH_O, "More texts of the batch; gives their numbers."},
    {"accounts", reinterpret_cast<PyCFunction>(kernel_accounts), METH_NOARGS, "Names after a backslash in the batch's texts, each once, with what stands before."},
    {"unprepared", reinterpret_cast<PyCFunction>(kernel_unprepared), METH_NOARGS, "Texts with signs of something, and which."},
    {"prepare", reinterpret_cast<PyCFunction>(kernel_prepare), METH_VARARGS, "What became of those, and which need not be asked about again."},
    {"learn", reinterpret_cast<PyCFunction>(kernel_learn), METH_VARARGS, "New names, pseudonyms, longest parts; the version; whether these are all."},
    {"search", reinterpret_cast<PyCFunction>(kernel_search), METH_VARARGS, "Tokens that take more than a look into the dictionary."},
    {"treated", reinterpret_cast<PyCFunction>(kernel_treated), METH_O, "What became of those."},
    {"plain", reinterpret_cast<PyCFunction>(kernel_plain), METH_O, "What became of texts, by number."},
    {"block", reinterpret_cast<PyCFunction>(kernel_block), METH_NOARGS, "The lines that were read, treated, each with a newline, as a bytearray."},
    {"lines", reinterpret_cast<PyCFunction>(kernel_lines), METH_NOARGS, "The lines that were read, treated."},
    {"columns", reinterpret_cast<PyCFunction>(kernel_columns), METH_NOARGS, "What was read as columns, treated: node, kind, lists, values; None if it is too much."},
    {"seen", reinterpret_cast<PyCFunction>(kernel_seen), METH_NOARGS, "Nodes of a batch read as columns, and whether objects (1) or anything else (2) stood there."},
    {nullptr, nullptr, 0, nullptr},
};

PyTypeObject KERNEL = {PyVarObject_HEAD_INIT(nullptr, 0)};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "tacit_kernel", "Reads lines of JSON and searches texts for Tacit.", -1, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_tacit_kernel() {
    KERNEL.tp_name = "tacit_kernel.Kernel";
    KERNEL.tp_basicsize = sizeof(Kernel);
    KERNEL.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC;
    KERNEL.tp_doc = "Kernel(modes, resolve, signs, groups)";
    KERNEL.tp_new = kernel_new;
    KERNEL.tp_dealloc = reinterpret_cast<destructor>(kernel_dealloc);
    KERNEL.tp_traverse = reinterpret_cast<traverseproc>(kernel_traverse);
    KERNEL.tp_clear = reinterpret_cast<inquiry>(kernel_clear);
    KERNEL.tp_methods = METHODS;
    if (PyType_Ready(&KERNEL) < 0) return nullptr;
    PyObject *module = PyModule_Create(&MODULE);
    if (module == nullptr) return nullptr;
    if (PyModule_AddObjectRef(module, "Kernel", reinterpret_cast<PyObject *>(&KERNEL)) < 0 || PyModule_AddIntConstant(module, "INTERFACE", 2) < 0) {
        Py_DECREF(module);
        return nullptr;
    }
    return module;
}
