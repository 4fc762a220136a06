// Says where a structure's fields are, so that kernels.py can compare its own idea of them when it loads the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace {

struct Field {
    const char* name;
    size_t offset, size;
};

// Whether a structure can be made of so many values, of whatever types.
struct Anything {
    template <class Type>
    operator Type() const;
};
template <class Struct, size_t... NUMBERS>
constexpr auto can_be_made_of(std::index_sequence<NUMBERS...>) -> decltype(Struct{(void(NUMBERS), Anything{})...}, true) {
    return true;
}
template <class Struct>
constexpr bool can_be_made_of(...) {
    return false;
}
template <class Struct, size_t COUNT>
constexpr bool has_fields() {
    return can_be_made_of<Struct>(std::make_index_sequence<COUNT>()) && !can_be_made_of<Struct>(std::make_index_sequence<COUNT + 1>());
}

template <class Struct>
struct Layout;

// Stands behind a structure that kernels.py repeats, and lists all its fields: where one is left out, it does not compile.
#define FIELD(name) Field{#name, offsetof(Struct, name), sizeof(Struct::name)},
#define LAYOUT(Type, ...)                                                                                                          \
    template <>                                                                                                                    \
    struct Layout<Type> {                                                                                                          \
        using Struct = Type;                                                                                                       \
        static constexpr const char* NAME = #Type;                                                                                 \
        static constexpr Field FIELDS[] = {__VA_ARGS__};                                                                           \
        static_assert(has_fields<Type, sizeof FIELDS / sizeof(Field)>(), "LAYOUT lists other fields than " #Type " has");           \
    };

// One line: the structure's name and size, and each field's name, offset and size.
template <class Struct>
std::string layout_of() {
    std::string line = Layout<Struct>::NAME;
    line += ' ' + std::to_string(sizeof(Struct));
    for (const Field& field : Layout<Struct>::FIELDS)
        line += std::string(" ") + field.name + ' ' + std::to_string(field.offset) + ' ' + std::to_string(field.size);
    return line + '\n';
}

template <class... Structs>
std::string layouts_of() {
    return (layout_of<Structs>() + ...);
}

}  // namespace
