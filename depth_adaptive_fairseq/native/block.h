// A decoder block on the newest token of some rows, and an exit's classifier with the best tokens.
#pragma once

#include "attention.h"
#include "linear.h"

// The layout of these structures is repeated in kernels.py.
extern "C" {

struct BlockLayers {
    const void *query, *keys_values, *self_out, *cross_query, *cross_out, *inner, *outer;  // Linear
    const float *self_norm_weight, *self_norm_bias, *cross_norm_weight, *cross_norm_bias, *final_norm_weight, *final_norm_bias;
    float self_norm_epsilon, cross_norm_epsilon, final_norm_epsilon;
    int32_t pre_norm;
    int64_t width, heads;
};

struct BlockState {
    const int64_t* rows;     // those that run, (count)
    int64_t count;
    const int64_t* entries;  // of each row's tokens, (all rows, stride), of which `length` are there
    int64_t length, stride;
    float* prefix;           // keys and values of each entry, (entries, 2 width)
    uint8_t* filled;         // whether they are there, (entries)
    const float* exit_states;  // h^n with which each entry's token left, (entries, width), or null where none left below
    const int64_t* sentences;  // of each row, (all rows)
    const float* source;       // keys and values of each sentence's source, (sentences, source_length, 2 width)
    const uint8_t* source_real;  // 0 at padding, (sentences, source_length), or null
    int64_t source_length;
    int64_t projected;  // what came out of it: states of which keys and values were made, copied ones included
};
}

namespace {

using Buffer = std::vector<float>;

// room for `size` numbers, which may be anything.
inline float* room(Buffer& buffer, int64_t size) {
    if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
    return buffer.data();
}

inline const Linear& linear(const void* handle) { return *static_cast<const Linear*>(handle); }

class Block {
public:
    Block(const BlockLayers& layers, BlockState& state)
        : layers(layers), state(state), width(layers.width), pre_norm(layers.pre_norm != 0) {}

    // hidden: h^{n-1} of the rows, replaced by h^n, (count, width).
    void run(float* hidden) {
        this->hidden = hidden;
        self_attention({layers.self_norm_weight, layers.self_norm_bias, layers.self_norm_epsilon});
        if (layers.cross_query != nullptr)
            cross_attention({layers.cross_norm_weight, layers.cross_norm_bias, layers.cross_norm_epsilon});
        feed_forward({layers.final_norm_weight, layers.final_norm_bias, layers.final_norm_epsilon});
    }

private:
    // What a sublayer reads: hidden, behind the norm where it comes first.
    const float* input(const Norm& norm, float* to) const {
        if (!pre_norm) return hidden;
        norm.apply_rows(hidden, to, state.count, width);
        return to;
    }

    // Add a sublayer's last projection to hidden.
    void add(const void* projection, const float* x, const Norm& norm) const {
        linear(projection).apply(x, state.count, hidden, Then::add);
        if (!pre_norm) norm.apply_rows(hidden, hidden, state.count, width);
    }

    void self_attention(const Norm& norm) {
        static thread_local Buffer inputs, projected, queries, contexts;
        static thread_local std::vector<int64_t> wanted;  // entries whose keys and values are made now
        wanted.clear();
        for (int64_t i = 0; i < state.count; ++i) want(newest(i), wanted);
        if (state.exit_states != nullptr)
            for (int64_t i = 0; i < state.count; ++i)
                for (int64_t t = 0; t + 1 < state.length; ++t) want(entries(i)[t], wanted);
        // The newest tokens and copied states of earlier ones, together: the weights are read once for both.
        const int64_t total = state.projected = wanted.size();
        float* x = room(inputs, total * width);
        if (pre_norm)
            norm.apply_rows(hidden, x, state.count, width);
        else
            std::copy(hidden, hidden + state.count * width, x);
        for (int64_t i = state.count; i < total; ++i) {
            const float* copied = state.exit_states + wanted[i] * width;
            if (pre_norm)
                norm.apply(copied, x + i * width, width);
            else
                std::copy(copied, copied + width, x + i * width);
        }
        float* made = room(projected, total * 2 * width);
        linear(layers.keys_values).apply(x, total, made, Then::assign);
        for (int64_t i = 0; i < total; ++i)
            std::copy(made + i * 2 * width, made + (i + 1) * 2 * width, state.prefix + wanted[i] * 2 * width);

        float* q = room(queries, state.count * width);
        linear(layers.query).apply(x, state.count, q, Then::assign);
        float* context = room(contexts, state.count * width);
        attend_rows(q, state.length, context, [this](int64_t i, std::vector<const float*>& places) {
            for (int64_t t = 0; t < state.length; ++t) places.push_back(state.prefix + entries(i)[t] * 2 * width);
        });
        add(layers.self_out, context, norm);
    }

    void cross_attention(const Norm& norm) {
        static thread_local Buffer normed, queries, contexts;
        const float* x = input(norm, room(normed, state.count * width));
        float* q = room(queries, state.count * width);
        linear(layers.cross_query).apply(x, state.count, q, Then::assign);
        float* context = room(contexts, state.count * width);
        attend_rows(q, state.source_length, context, [this](int64_t i, std::vector<const float*>& places) {
            const int64_t first = state.sentences[state.rows[i]] * state.source_length;
            for (int64_t t = first; t < first + state.source_length; ++t)
                if (state.source_real == nullptr || state.source_real[t]) places.push_back(state.source + t * 2 * width);
        });
        add(layers.cross_out, context, norm);
    }

    void feed_forward(const Norm& norm) {
        static thread_local Buffer normed, inner;
        const float* x = input(norm, room(normed, state.count * width));
        const Linear& first = linear(layers.inner);
        float* between = room(inner, state.count * first.outputs);
        first.apply(x, state.count, between, Then::relu);
        add(layers.outer, between, norm);
    }

    // Args:
    //   length: at most this many keys a row.
    //   find: (number of a row, places) adds where the row's keys are.
    template <class Find>
    void attend_rows(const float* queries, int64_t length, float* contexts, const Find& find) const {
#pragma omp parallel for num_threads(thread_count) schedule(static) if (thread_count > 1 && state.count * length > 200)
        for (int64_t i = 0; i < state.count; ++i) {
            static thread_local Buffer shares;
            static thread_local std::vector<const float*> places;
            places.clear();
            find(i, places);
            attend(queries + i * width, places, width, layers.heads, room(shares, length), contexts + i * width);
        }
    }

    const int64_t* entries(int64_t i) const { return state.entries + state.rows[i] * state.stride; }
    int64_t newest(int64_t i) const { return entries(i)[state.length - 1]; }

    void want(int64_t entry, std::vector<int64_t>& wanted) const {
        if (state.filled[entry]) return;
        state.filled[entry] = 1;
        wanted.push_back(entry);
    }

    const BlockLayers& layers;
    BlockState& state;
    const int64_t width;
    const bool pre_norm;
    float* hidden = nullptr;
};

}  // namespace
