// A decoder block on the newest token of some rows (section 2.2.1 of the paper, algorithm 2).
#pragma once

#include "sublayers.h"

// The layout of these structures is repeated in kernels.py.
extern "C" {

// What all blocks know of the hypotheses, which are the rows of a step.
struct Hypotheses {
    const int64_t* entries;  // of each row's tokens, (rows, stride), of which `length` are there
    int64_t length, stride;
    const int64_t* sentences;  // of each row, (rows)
    float* exit_states;        // h^n with which each entry's token left, (entries, width)
    int64_t lowest_exit;       // of all tokens so far: blocks up to it have no copied states
};

// What a block keeps, and what it runs on.
struct BlockState {
    int64_t number;       // from 1
    const int64_t* rows;  // those that run, (count)
    int64_t count;
    Hypotheses* hypotheses;
    float* prefix;                // keys and values of each entry, (entries, 2 width)
    uint8_t* filled;              // whether they are there, (entries)
    const float* encoder_states;  // (sentences, source_length, encoder width)
    float* source;                // keys and values of each sentence's source, (sentences, source_length, 2 width)
    uint8_t* source_filled;       // whether they are there, (sentences)
    const uint8_t* source_real;   // 0 at padding, (sentences, source_length), or null
    int64_t source_length;
    // What it did: tokens of which keys and values were made, those with copied states included, and, in a whole step of the
    // search, those of which the classifier behind the block was asked for logits.
    int64_t projected, classified;
};
}

namespace {

class DecoderBlock : Sublayers {
public:
    // hidden: h^{n-1} of the rows, (count, width).
    DecoderBlock(const BlockLayers& layers, BlockState& state, float* hidden)
        : Sublayers(layers, hidden, state.count), state(state), hypotheses(*state.hypotheses) {}

    // Replace hidden by h^n.
    void run() {
        self_attention();
        if (layers.cross_query != nullptr) cross_attention();
        feed_forward();
    }

private:
    void self_attention() {
        static thread_local Buffer inputs, projected, queries, contexts;
        static thread_local std::vector<int64_t> wanted;  // entries whose keys and values are made now
        const Norm norm = self_norm();
        wanted.clear();
        for (int64_t i = 0; i < rows; ++i) want(entries(i)[hypotheses.length - 1], wanted);
        if (hypotheses.lowest_exit < state.number)
            for (int64_t i = 0; i < rows; ++i)
                for (int64_t t = 0; t + 1 < hypotheses.length; ++t) want(entries(i)[t], wanted);
        // The newest tokens and copied states of earlier ones, together: the weights are read once for both.
        const int64_t total = state.projected = wanted.size();
        const int64_t* const chosen = wanted.data();  // other threads have a list of their own
        float* x = room(inputs, total * width);
#pragma omp parallel for num_threads(thread_count) schedule(static) if (worth_threads_to_move(total * width))
        for (int64_t i = 0; i < total; ++i) {
            const float* from = i < rows ? hidden + i * width : hypotheses.exit_states + chosen[i] * width;
            if (pre_norm)
                norm.apply(from, x + i * width, width);
            else
                std::copy(from, from + width, x + i * width);
        }
        float* made = room(projected, total * 2 * width);
        linear(layers.keys_values).apply(x, total, made, Then::assign);
#pragma omp parallel for num_threads(thread_count) schedule(static) if (worth_threads_to_move(total * 2 * width))
        for (int64_t i = 0; i < total; ++i)
            std::copy(made + i * 2 * width, made + (i + 1) * 2 * width, state.prefix + chosen[i] * 2 * width);

        float* q = room(queries, rows * width);
        linear(layers.query).apply(x, rows, q, Then::assign);
        float* context = room(contexts, rows * width);
        attend_rows(q, hypotheses.length, context, [this](int64_t i, std::vector<const float*>& places) {
            for (int64_t t = 0; t < hypotheses.length; ++t) places.push_back(state.prefix + entries(i)[t] * 2 * width);
        });
        add(layers.self_out, context, norm);
    }

    void cross_attention() {
        static thread_local Buffer normed, queries, contexts;
        project_sources();
        const Norm norm = cross_norm();
        const float* x = input(norm, room(normed, rows * width));
        float* q = room(queries, rows * width);
        linear(layers.cross_query).apply(x, rows, q, Then::assign);
        float* context = room(contexts, rows * width);
        attend_rows(q, state.source_length, context, [this](int64_t i, std::vector<const float*>& places) {
            const int64_t first = hypotheses.sentences[state.rows[i]] * state.source_length;
            for (int64_t t = first; t < first + state.source_length; ++t)
                if (state.source_real == nullptr || state.source_real[t]) places.push_back(state.source + t * 2 * width);
        });
        add(layers.cross_out, context, norm);
    }

    // Make the keys and values of sentences that have not come so far before, neighbours together.
    void project_sources() {
        const Linear& project = linear(layers.cross_keys_values);
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t first = hypotheses.sentences[state.rows[i]];
            if (state.source_filled[first]) continue;
            int64_t behind = first;
            for (int64_t j = i; j < rows; ++j) {
                const int64_t sentence = hypotheses.sentences[state.rows[j]];
                if (sentence == behind - 1) continue;
                if (sentence != behind || state.source_filled[sentence]) break;
                state.source_filled[behind++] = 1;
            }
            const float* from = state.encoder_states + first * state.source_length * project.inputs;
            float* to = state.source + first * state.source_length * 2 * width;
            project.apply(from, (behind - first) * state.source_length, to, Then::assign);
        }
    }

    const int64_t* entries(int64_t i) const { return hypotheses.entries + state.rows[i] * hypotheses.stride; }

    void want(int64_t entry, std::vector<int64_t>& wanted) const {
        if (state.filled[entry]) return;
        state.filled[entry] = 1;
        wanted.push_back(entry);
    }

    BlockState& state;
    const Hypotheses& hypotheses;
};

}  // namespace
