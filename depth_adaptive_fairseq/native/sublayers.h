// What decoder and encoder blocks have in common: residual sublayers around norms, projections and attention.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "attention.h"
#include "layout.h"
#include "linear.h"

extern "C" {

enum Activation : int32_t { ACTIVATION_RELU = 0 };

// A block. kernels.py repeats this structure.
struct BlockLayers {
    const void *query, *keys_values, *self_out, *cross_query, *cross_keys_values, *cross_out, *inner, *outer;  // Linear
    const float *self_norm_weight, *self_norm_bias, *cross_norm_weight, *cross_norm_bias, *final_norm_weight, *final_norm_bias;
    float self_norm_epsilon, cross_norm_epsilon, final_norm_epsilon;
    int32_t pre_norm;
    int32_t activation;  // of the feed-forward layers: an Activation
    int64_t width, heads;
};
}

namespace {

LAYOUT(BlockLayers,
       FIELD(query) FIELD(keys_values) FIELD(self_out) FIELD(cross_query) FIELD(cross_keys_values) FIELD(cross_out)
       FIELD(inner) FIELD(outer) FIELD(self_norm_weight) FIELD(self_norm_bias) FIELD(cross_norm_weight) FIELD(cross_norm_bias)
       FIELD(final_norm_weight) FIELD(final_norm_bias) FIELD(self_norm_epsilon) FIELD(cross_norm_epsilon)
       FIELD(final_norm_epsilon) FIELD(pre_norm) FIELD(activation) FIELD(width) FIELD(heads))

inline const Linear& linear(const void* handle) { return *static_cast<const Linear*>(handle); }

inline Epilogue epilogue_of(int32_t activation) {
    if (activation == ACTIVATION_RELU) return Epilogue::relu;
    throw std::invalid_argument("they have no activation number " + std::to_string(activation));
}

class Sublayers {
protected:
    // hidden: what each sublayer adds to, (rows, width).
    Sublayers(const BlockLayers& layers, float* hidden, int64_t rows, Workspace& workspace)
        : layers(layers), width(layers.width), pre_norm(layers.pre_norm != 0), hidden(hidden), rows(rows), workspace(workspace) {}

    // What a sublayer reads: hidden, behind the norm where it comes first.
    const float* input(const Norm& norm) const {
        if (!pre_norm) return hidden;
        float* const normed = workspace.normed.room(rows * width);
        norm.apply_rows(hidden, normed, rows, width, workspace);
        return normed;
    }

    // A projection of `count` rows of x, (count, outputs).
    const float* project(const void* projection, const float* x, int64_t count, Buffer<float>& to) const {
        float* const projected = to.room(count * linear(projection).outputs);
        linear(projection).apply(x, count, projected, Epilogue::store, workspace);
        return projected;
    }

    // Add a sublayer's last projection to hidden.
    void add(const void* projection, const float* x, const Norm& norm) const {
        linear(projection).apply(x, rows, hidden, Epilogue::add, workspace);
        if (!pre_norm) norm.apply_rows(hidden, hidden, rows, width, workspace);
    }

    void feed_forward() const {
        const Norm norm = final_norm();
        const float* const x = input(norm);
        const Linear& first = linear(layers.inner);
        float* const inner = workspace.inner.room(rows * first.outputs);
        first.apply(x, rows, inner, epilogue_of(layers.activation), workspace);
        add(layers.outer, inner, norm);
    }

    // Attention of each row's query, (rows, width); returns what it found, (rows, width).
    //
    // Args:
    //   length: at most this many keys a row.
    //   find: (number of a row, keys) writes where the row's keys are, and returns how many.
    template <class Find>
    const float* attend_rows(const float* queries, int64_t length, const Find& find) const {
        float* const contexts = workspace.contexts.room(rows * width);
        workspace.for_each_thread([&](ThreadSpace& space) {
            space.attention.room(length);
            space.keys.room(length);
        });
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.threads > 1 && rows * length > 200)
        for (int64_t i = 0; i < rows; ++i) {
            const ThreadSpace& space = workspace.of_this_thread();
            const int64_t count = find(i, space.keys.data());
            attend(queries + i * width, space.keys.data(), count, width, layers.heads, space.attention.data(), contexts + i * width);
        }
        return contexts;
    }

    Norm self_norm() const { return {layers.self_norm_weight, layers.self_norm_bias, layers.self_norm_epsilon}; }
    Norm cross_norm() const { return {layers.cross_norm_weight, layers.cross_norm_bias, layers.cross_norm_epsilon}; }
    Norm final_norm() const { return {layers.final_norm_weight, layers.final_norm_bias, layers.final_norm_epsilon}; }

    const BlockLayers& layers;
    const int64_t width;
    const bool pre_norm;
    float* const hidden;
    const int64_t rows;
    Workspace& workspace;
};

}  // namespace
