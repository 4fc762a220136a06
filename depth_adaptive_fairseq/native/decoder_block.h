// A decoder block on the newest token of some rows (section 2.2.1 of the paper, algorithm 2).
#pragma once

#include "sublayers.h"

extern "C" {

// What all blocks know of the hypotheses, which are the rows of a step. kernels.py repeats these structures.
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
    const uint8_t* source_attended;  // 0 at padding, (sentences, source_length), or null
    int64_t source_length;
    // What it did: tokens of which keys and values were made, those with copied states included, and, in a whole step of the
    // search, those of which the classifier behind the block was asked for logits.
    int64_t projected, classified;
};
}

namespace {

LAYOUT(Hypotheses, FIELD(entries) FIELD(length) FIELD(stride) FIELD(sentences) FIELD(exit_states) FIELD(lowest_exit))
LAYOUT(BlockState,
       FIELD(number) FIELD(rows) FIELD(count) FIELD(hypotheses) FIELD(prefix) FIELD(filled) FIELD(encoder_states) FIELD(source)
       FIELD(source_filled) FIELD(source_attended) FIELD(source_length) FIELD(projected) FIELD(classified))

class DecoderBlock : Sublayers {
public:
    // hidden: h^{n-1} of the rows, (count, width).
    DecoderBlock(const BlockLayers& layers, BlockState& state, float* hidden, Workspace& workspace)
        : Sublayers(layers, hidden, state.count, workspace), state(state), hypotheses(*state.hypotheses) {}

    // Replace hidden by h^n.
    void run() {
        self_attention();
        if (layers.cross_query != nullptr) cross_attention();
        feed_forward();
    }

private:
    void self_attention() {
        const Norm norm = self_norm();
        // The newest tokens and copied states of earlier ones, together: the weights are read once for both.
        const int64_t total = state.projected = collect_entries();
        const int64_t* const chosen = workspace.entries.data();
        float* const x = workspace.normed.room(total * width);
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.worth_threads_to_move(total * width))
        for (int64_t i = 0; i < total; ++i) {
            const float* from = i < rows ? hidden + i * width : hypotheses.exit_states + chosen[i] * width;
            if (pre_norm)
                norm.apply(from, x + i * width, width);
            else
                std::copy(from, from + width, x + i * width);
        }
        const float* const made = project(layers.keys_values, x, total, workspace.projected);
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.worth_threads_to_move(total * 2 * width))
        for (int64_t i = 0; i < total; ++i)
            std::copy(made + i * 2 * width, made + (i + 1) * 2 * width, state.prefix + chosen[i] * 2 * width);

        const float* const queries = project(layers.query, x, rows, workspace.queries);
        const float* const contexts = attend_rows(queries, hypotheses.length, [this](int64_t i, const float** keys) {
            for (int64_t t = 0; t < hypotheses.length; ++t) keys[t] = state.prefix + entries(i)[t] * 2 * width;
            return hypotheses.length;
        });
        add(layers.self_out, contexts, norm);
    }

    // Collect the entries of which keys and values are made now, the newest first; returns how many.
    int64_t collect_entries() const {
        const bool copied = hypotheses.lowest_exit < state.number;  // whether any token left below
        int64_t* const found = workspace.entries.room(copied ? rows * hypotheses.length : rows);
        int64_t count = 0;
        const auto add_unfilled = [&](int64_t entry) {
            if (state.filled[entry]) return;
            state.filled[entry] = 1;
            found[count++] = entry;
        };
        for (int64_t i = 0; i < rows; ++i) add_unfilled(entries(i)[hypotheses.length - 1]);
        if (copied)
            for (int64_t i = 0; i < rows; ++i)
                for (int64_t t = 0; t + 1 < hypotheses.length; ++t) add_unfilled(entries(i)[t]);
        return count;
    }

    void cross_attention() {
        project_sources();
        const Norm norm = cross_norm();
        const float* const queries = project(layers.cross_query, input(norm), rows, workspace.queries);
        const float* const contexts = attend_rows(queries, state.source_length, [this](int64_t i, const float** keys) {
            const int64_t first = hypotheses.sentences[state.rows[i]] * state.source_length;
            int64_t count = 0;
            for (int64_t t = first; t < first + state.source_length; ++t)
                if (state.source_attended == nullptr || state.source_attended[t]) keys[count++] = state.source + t * 2 * width;
            return count;
        });
        add(layers.cross_out, contexts, norm);
    }

    // Make the keys and values of sentences that have not come so far before, neighbours together.
    void project_sources() {
        const Linear& projection = linear(layers.cross_keys_values);
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
            const float* from = state.encoder_states + first * state.source_length * projection.inputs;
            float* to = state.source + first * state.source_length * 2 * width;
            projection.apply(from, (behind - first) * state.source_length, to, Epilogue::store, workspace);
        }
    }

    const int64_t* entries(int64_t i) const { return hypotheses.entries + state.rows[i] * hypotheses.stride; }

    BlockState& state;
    const Hypotheses& hypotheses;
};

}  // namespace
