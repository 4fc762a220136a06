// A whole step of beam search for exits that need no more than a fixed number or a geometric-like halting classifier: from the
// newest tokens to the best continuations of each row.
#pragma once

#include "classifier.h"
#include "decoder_block.h"

// The layout of this structure is repeated in kernels.py.
extern "C" {

struct SearchStep {
    int64_t blocks, width;
    const BlockLayers* layers;      // of each block
    BlockState* states;             // of each block
    const Classifier* classifiers;  // of each exit
    const float* embedding;         // (vocabulary, width)
    float embedding_scale;
    const float* position;  // of the step, (width), or null
    int64_t first_entry;    // of the step's tokens
    int64_t fixed_exit;     // of all tokens, or 0: those of the halting classifier
    const float* const* halting_weights;  // of each exit but the last, (width)
    const float* halting_biases;          // (blocks - 1)
    const float* thresholds;              // tau_n, (blocks - 1)
};
}

namespace {

class Step {
public:
    Step(const SearchStep& step, Hypotheses& hypotheses) : step(step), hypotheses(hypotheses), width(step.width) {}

    // Args:
    //   newest: tokens, (rows).
    //   scores, tokens: of the best continuations, (rows, wanted).
    //   exits: from 1, (rows).
    void run(const int64_t* newest, int64_t rows, const Choice& choice, float* scores, int64_t* tokens, int64_t* exits) {
        static thread_local Buffer states;
        static thread_local std::vector<int64_t> running;
        float* hidden = room(states, rows * width);
        embed(newest, rows, hidden);
        running.resize(rows);
        for (int64_t row = 0; row < rows; ++row) running[row] = row;
        for (int64_t n = 1; n <= step.blocks; ++n) {
            BlockState& state = step.states[n - 1];
            state.rows = running.data();
            state.count = running.size();
            if (running.empty()) continue;  // its count tells that nothing was done
            DecoderBlock(step.layers[n - 1], state, hidden).run();
            leave(n, rows, running, hidden, choice, scores, tokens, exits);
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

    // Whether a token with state h^n leaves: at the first n < N where chi^n > tau_n (Eqs. 12 and 13).
    bool leaves(int64_t n, const float* state) const {
        if (n == step.blocks) return true;
        if (step.fixed_exit != 0) return n == step.fixed_exit;
        const float logit = product(state, step.halting_weights[n - 1], width) + step.halting_biases[n - 1];
        return 1.0f / (1.0f + std::exp(-logit)) > step.thresholds[n - 1];
    }

    // Take those that leave out of `running` and `hidden`, keep their states, and find their best tokens.
    void leave(int64_t n, int64_t rows, std::vector<int64_t>& running, float* hidden, const Choice& choice, float* scores,
               int64_t* tokens, int64_t* exits) {
        static thread_local Buffer states, found_scores;
        static thread_local std::vector<int64_t> leaving, found_tokens;
        leaving.clear();
        float* left = room(states, running.size() * width);
        size_t staying = 0;
        for (size_t i = 0; i < running.size(); ++i) {
            const float* state = hidden + i * width;
            if (leaves(n, state)) {
                std::copy(state, state + width, left + leaving.size() * width);
                leaving.push_back(running[i]);
                continue;
            }
            if (staying != i) std::copy(state, state + width, hidden + staying * width);
            running[staying++] = running[i];
        }
        running.resize(staying);
        if (leaving.empty()) return;
        const int64_t count = leaving.size(), wanted = choice.wanted;
        if (n < step.blocks) {
            hypotheses.lowest_exit = std::min(hypotheses.lowest_exit, n);
            for (int64_t i = 0; i < count; ++i)
                std::copy(left + i * width, left + (i + 1) * width, hypotheses.exit_states + (step.first_entry + leaving[i]) * width);
        }
        for (const int64_t row : leaving) exits[row] = n;
        if (count == rows) return classify(step.classifiers[n - 1], left, count, choice, scores, tokens);
        found_tokens.resize(count * wanted);
        float* best = room(found_scores, count * wanted);
        classify(step.classifiers[n - 1], left, count, choice, best, found_tokens.data());
        for (int64_t i = 0; i < count; ++i) {
            std::copy(best + i * wanted, best + (i + 1) * wanted, scores + leaving[i] * wanted);
            std::copy(found_tokens.data() + i * wanted, found_tokens.data() + (i + 1) * wanted, tokens + leaving[i] * wanted);
        }
    }

    const SearchStep& step;
    Hypotheses& hypotheses;
    const int64_t width;
};

}  // namespace
