// A whole step of beam search, from the newest tokens to the best continuations of each row, for exits that are fixed, or that
// a geometric-like halting classifier or the confidence of the prediction chooses.
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
    int64_t fixed_exit;     // of all tokens, or 0: chosen token by token
    const float* const* halting_weights;  // of each exit but the last, (width), or null: by confidence
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
            state.classified = 0;
            if (running.empty()) continue;  // its count tells that nothing was done
            DecoderBlock(step.layers[n - 1], state, hidden).run();
            leave(n, running, hidden, choice, scores, tokens, exits);
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

    // What is known about the rows that still run, behind a block.
    struct Predictions {
        Buffer scores, confidences;
        std::vector<int64_t> tokens;
    };

    // Whether a token with state h^n leaves: at the first n < N where chi^n, or the largest probability, exceeds tau_n.
    bool leaves(int64_t n, const float* state, float confidence) const {
        if (n == step.blocks) return true;
        if (step.fixed_exit != 0) return n == step.fixed_exit;
        if (step.halting_weights == nullptr) return confidence > step.thresholds[n - 1];
        const float logit = product(state, step.halting_weights[n - 1], width) + step.halting_biases[n - 1];
        return 1.0f / (1.0f + std::exp(-logit)) > step.thresholds[n - 1];
    }

    // Take those that leave out of `running` and `hidden`, keep their states, and find their best tokens.
    void leave(int64_t n, std::vector<int64_t>& running, float* hidden, const Choice& choice, float* scores, int64_t* tokens,
               int64_t* exits) {
        static thread_local Predictions predictions;
        static thread_local Buffer states;
        static thread_local std::vector<int64_t> leaving;  // places in `running`
        const bool by_confidence = step.fixed_exit == 0 && step.halting_weights == nullptr && n < step.blocks;
        if (by_confidence) predict(n, hidden, running.size(), choice, step.thresholds[n - 1], predictions);

        leaving.clear();
        for (size_t i = 0; i < running.size(); ++i)
            if (leaves(n, hidden + i * width, by_confidence ? predictions.confidences[i] : 0.0f)) leaving.push_back(i);
        if (leaving.empty()) return;
        float* left = room(states, leaving.size() * width);
        for (size_t i = 0; i < leaving.size(); ++i) std::copy_n(hidden + leaving[i] * width, width, left + i * width);
        if (!by_confidence) predict(n, left, leaving.size(), choice, ANY_CONFIDENCE, predictions);
        const int64_t wanted = choice.wanted;
        for (size_t i = 0; i < leaving.size(); ++i) {
            const int64_t row = running[leaving[i]], found = by_confidence ? leaving[i] : i;
            exits[row] = n;
            std::copy_n(predictions.scores.data() + found * wanted, wanted, scores + row * wanted);
            std::copy_n(predictions.tokens.data() + found * wanted, wanted, tokens + row * wanted);
            if (n < step.blocks) std::copy_n(left + i * width, width, hypotheses.exit_states + (step.first_entry + row) * width);
        }
        if (n < step.blocks) hypotheses.lowest_exit = std::min(hypotheses.lowest_exit, n);

        size_t staying = 0, next = 0;  // the next one that leaves
        for (size_t i = 0; i < running.size(); ++i) {
            if (next < leaving.size() && leaving[next] == static_cast<int64_t>(i)) {
                ++next;
                continue;
            }
            if (staying != i) std::copy_n(hidden + i * width, width, hidden + staying * width);
            running[staying++] = running[i];
        }
        running.resize(staying);
    }

    // threshold: rows whose largest probability does not exceed it get no tokens.
    void predict(int64_t n, const float* states, int64_t count, const Choice& choice, float threshold, Predictions& predictions) const {
        float *scores = room(predictions.scores, count * choice.wanted), *confidences = room(predictions.confidences, count);
        if (static_cast<int64_t>(predictions.tokens.size()) < count * choice.wanted) predictions.tokens.resize(count * choice.wanted);
        step.states[n - 1].classified = count;
        classify(step.classifiers[n - 1], states, count, choice, scores, predictions.tokens.data(), threshold, confidences);
    }

    const SearchStep& step;
    Hypotheses& hypotheses;
    const int64_t width;
};

}  // namespace
