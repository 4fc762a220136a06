// A whole step of beam search: from the newest tokens to the candidates of each row, exits by an ExitRule.
#pragma once

#include "classifier.h"
#include "decoder_block.h"
#include "exit_rule.h"

extern "C" {

// kernels.py repeats this structure.
struct SearchStep {
    int64_t blocks, width;
    const BlockLayers* layers;      // of each block
    BlockState* states;             // of each block
    const Classifier* classifiers;  // of each exit
    const ExitRule* rule;
    const float* embedding;  // (vocabulary, width)
    float embedding_scale;
    const float* position;  // of the step, (width), or null
    int64_t first_entry;    // of the step's tokens
};
}

namespace {

LAYOUT(SearchStep,
       FIELD(blocks) FIELD(width) FIELD(layers) FIELD(states) FIELD(classifiers) FIELD(rule) FIELD(embedding)
       FIELD(embedding_scale) FIELD(position) FIELD(first_entry))

class Step {
public:
    // Args:
    //   options: of the candidates.
    //   scores, tokens: of the candidates, (rows, options.count).
    //   exits: from 1, (rows).
    Step(const SearchStep& step, Hypotheses& hypotheses, const CandidateOptions& options, float* scores, int64_t* tokens, int64_t* exits,
         Workspace& workspace)
        : step(step), hypotheses(hypotheses), options(options), scores(scores), tokens(tokens), exits(exits), workspace(workspace),
          width(step.width) {}

    // Args:
    //   newest: tokens, (rows).
    //   known_exits: of each row, from 1, where the rule wants them.
    void run(const int64_t* newest, const int64_t* known_exits, int64_t rows) {
        const ExitDecisions decisions(*step.rule, step.blocks, width, known_exits, rows, workspace);
        float* const hidden = workspace.hidden.room(rows * width);
        int64_t* const running = workspace.running.room(rows);
        embed(newest, rows, hidden);
        for (int64_t row = 0; row < rows; ++row) running[row] = row;
        int64_t count = rows;
        for (int64_t n = 1; n <= step.blocks; ++n) {
            BlockState& state = step.states[n - 1];
            state.rows = running;
            state.count = count;
            state.classified = 0;
            if (count == 0) continue;  // which tells that nothing was done
            decisions.before_block(hidden, count);
            DecoderBlock(step.layers[n - 1], state, hidden, workspace).run();
            count = leave(n, decisions, running, hidden, count);
        }
    }

private:
    void embed(const int64_t* newest, int64_t rows, float* hidden) const {
        for (int64_t row = 0; row < rows; ++row) {
            const float* from = step.embedding + newest[row] * width;
            float* to = hidden + row * width;
#pragma omp simd
            for (int64_t i = 0; i < width; ++i) to[i] = step.embedding_scale * from[i] + (step.position == nullptr ? 0.0f : step.position[i]);
        }
    }

    // Take the rows that leave at n out of `running` and `hidden`, keep their states, and find their candidates; returns how many
    // stay.
    int64_t leave(int64_t n, const ExitDecisions& decisions, int64_t* running, float* hidden, int64_t count) {
        uint8_t* const leaves = workspace.leaves.room(count);
        const bool last = n == step.blocks, classified = !last && decisions.by_prediction();
        const auto row_of = [running](int64_t i) { return running[i]; };
        if (last)
            std::fill_n(leaves, count, uint8_t{1});
        else if (classified)
            find(n, hidden, count, [&](int64_t i, LogitRow& row) { return leaves[i] = decisions.leaves(n, running[i], row); }, row_of);
        else
            decisions.leaves(n, running, hidden, count, leaves);

        int64_t* const leaving = workspace.leaving.room(count);
        int64_t num_leaving = 0;
        for (int64_t i = 0; i < count; ++i)
            if (leaves[i]) leaving[num_leaving++] = i;
        if (num_leaving == 0) return count;
        const float* const states = num_leaving == count ? hidden : gather(hidden, leaving, num_leaving);
        if (!classified) find(n, states, num_leaving, always, [=](int64_t i) { return running[leaving[i]]; });
        for (int64_t i = 0; i < num_leaving; ++i) {
            const int64_t row = running[leaving[i]];
            exits[row] = n;
            if (!last) std::copy_n(states + i * width, width, hypotheses.exit_states + (step.first_entry + row) * width);
        }
        if (!last) hypotheses.lowest_exit = std::min(hypotheses.lowest_exit, n);

        int64_t staying = 0;
        for (int64_t i = 0; i < count; ++i) {
            if (leaves[i]) continue;
            if (staying != i) std::copy_n(hidden + i * width, width, hidden + staying * width);
            running[staying++] = running[i];
        }
        return staying;
    }

    const float* gather(const float* states, const int64_t* places, int64_t count) const {
        float* const gathered = workspace.leaving_states.room(count * width);
        for (int64_t i = 0; i < count; ++i) std::copy_n(states + places[i] * width, width, gathered + i * width);
        return gathered;
    }

    template <class Wanted, class Place>
    void find(int64_t n, const float* states, int64_t count, const Wanted& wanted, const Place& place) const {
        step.states[n - 1].classified = count;
        classify(step.classifiers[n - 1], states, count, options, wanted, place, scores, tokens, workspace);
    }

    const SearchStep& step;
    Hypotheses& hypotheses;
    const CandidateOptions& options;
    float* const scores;
    int64_t* const tokens;
    int64_t* const exits;
    Workspace& workspace;
    const int64_t width;
};

}  // namespace
