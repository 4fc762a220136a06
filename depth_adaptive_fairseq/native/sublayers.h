// What decoder and encoder blocks have in common: residual sublayers around norms, projections and attention.
#pragma once

#include <algorithm>
#include <vector>

#include "attention.h"
#include "linear.h"

// The layout of this structure is repeated in kernels.py.
extern "C" {

struct BlockLayers {
    const void *query, *keys_values, *self_out, *cross_query, *cross_keys_values, *cross_out, *inner, *outer;  // Linear
    const float *self_norm_weight, *self_norm_bias, *cross_norm_weight, *cross_norm_bias, *final_norm_weight, *final_norm_bias;
    float self_norm_epsilon, cross_norm_epsilon, final_norm_epsilon;
    int32_t pre_norm;
    int64_t width, heads;
};
}

namespace {

using Buffer = std::vector<float>;

// Room for `size` numbers, which may be anything.
inline float* room(Buffer& buffer, int64_t size) {
    if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
    return buffer.data();
}

inline const Linear& linear(const void* handle) { return *static_cast<const Linear*>(handle); }

class Sublayers {
protected:
    // hidden: what each sublayer adds to, (rows, width).
    Sublayers(const BlockLayers& layers, float* hidden, int64_t rows)
        : layers(layers), width(layers.width), pre_norm(layers.pre_norm != 0), hidden(hidden), rows(rows) {}

    // What a sublayer reads: hidden, behind the norm where it comes first; `to` is room for that.
    const float* input(const Norm& norm, float* to) const {
        if (!pre_norm) return hidden;
        norm.apply_rows(hidden, to, rows, width);
        return to;
    }

    // Add a sublayer's last projection to hidden.
    void add(const void* projection, const float* x, const Norm& norm) const {
        linear(projection).apply(x, rows, hidden, Then::add);
        if (!pre_norm) norm.apply_rows(hidden, hidden, rows, width);
    }

    void feed_forward() const {
        static thread_local Buffer normed, inner;
        const Norm norm = final_norm();
        const float* x = input(norm, room(normed, rows * width));
        const Linear& first = linear(layers.inner);
        float* between = room(inner, rows * first.outputs);
        first.apply(x, rows, between, Then::relu);
        add(layers.outer, between, norm);
    }

    // Attention of each row's query, (rows, width).
    //
    // Args:
    //   length: at most this many keys a row.
    //   find: (number of a row, places) adds where the row's keys are.
    template <class Find>
    void attend_rows(const float* queries, int64_t length, float* contexts, const Find& find) const {
#pragma omp parallel for num_threads(thread_count) schedule(static) if (thread_count > 1 && rows * length > 200)
        for (int64_t i = 0; i < rows; ++i) {
            static thread_local Buffer shares;
            static thread_local std::vector<const float*> places;
            places.clear();
            find(i, places);
            attend(queries + i * width, places, width, layers.heads, room(shares, length), contexts + i * width);
        }
    }

    Norm self_norm() const { return {layers.self_norm_weight, layers.self_norm_bias, layers.self_norm_epsilon}; }
    Norm cross_norm() const { return {layers.cross_norm_weight, layers.cross_norm_bias, layers.cross_norm_epsilon}; }
    Norm final_norm() const { return {layers.final_norm_weight, layers.final_norm_bias, layers.final_norm_epsilon}; }

    const BlockLayers& layers;
    const int64_t width;
    const bool pre_norm;
    float* const hidden;
    const int64_t rows;
};

}  // namespace
