// When a row leaves: exits that are known beforehand, or a statistic of each block, a comparison and thresholds.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>

#include "attention.h"
#include "candidates.h"
#include "layout.h"
#include "workspace.h"

extern "C" {

enum Statistic : int32_t {
    KNOWN_EXITS = 0,
    LARGEST_PROBABILITY = 1,
    ENTROPY = 2,         // in nats
    MARGIN = 3,          // best minus second-best probability
    COSINE = 4,          // of h^n and h^{n-1}, so from exit 2 on
    AGREEMENT = 5,       // exits in a row, this one included, that predict the same token
    CHI = 6,             // sigmoid(w h^n + b): the probability of stopping here (Eq. 12)
    PREDICTED_EXIT = 7,  // argmax of W h^1 + b (Eq. 11), 1 .. N, the same at every exit
};

enum Comparison : int32_t { ABOVE = 0, BELOW = 1, AT_LEAST = 2, AT_MOST = 3 };

// A row leaves at the first n < N where `statistic comparison thresholds[n - 1]`, else at N. What is not a number never leaves.
// kernels.py repeats this structure.
struct ExitRule {
    int32_t statistic, comparison;
    const float* thresholds;      // of exits 1 .. N-1; or null: exits are known
    const float* const* weights;  // chi: of each exit but the last; predicted exit: of each of the N classes; each (width)
    const float* biases;          // chi: (N-1); predicted exit: (N)
};
}

namespace {

LAYOUT(ExitRule, FIELD(statistic) FIELD(comparison) FIELD(thresholds) FIELD(weights) FIELD(biases))

// An exit rule during one step. Rows are numbered as in the step; `states` are of those that still run.
class ExitDecisions {
public:
    // known_exits: of each row, from 1; or null.
    //
    // Throws: std::invalid_argument, where the rule is none or lacks something.
    ExitDecisions(const ExitRule& rule, int64_t blocks, int64_t width, const int64_t* known_exits, int64_t rows, Workspace& workspace)
        : rule(rule), statistic(rule.statistic), blocks(blocks), width(width), known_exits(known_exits), workspace(workspace) {
        const auto need = [](bool there, const char* what) {
            if (!there) throw std::invalid_argument(std::string("they were given an exit rule without ") + what);
        };
        need(statistic >= KNOWN_EXITS && statistic <= PREDICTED_EXIT, "a statistic that they know");
        need(rule.comparison >= ABOVE && rule.comparison <= AT_MOST, "a comparison that they know");
        need(statistic != KNOWN_EXITS || known_exits != nullptr, "known exits");
        need(statistic == KNOWN_EXITS || rule.thresholds != nullptr || blocks == 1, "thresholds");
        const bool learned = statistic == CHI || statistic == PREDICTED_EXIT;
        need(!learned || (rule.weights != nullptr && rule.biases != nullptr) || blocks == 1, "weights and biases");
        if (statistic == AGREEMENT) {
            std::fill_n(workspace.predicted_tokens.room(rows), rows, int64_t{-1});
            std::fill_n(workspace.agreeing_exits.room(rows), rows, int64_t{0});
        }
        if (statistic == PREDICTED_EXIT) workspace.predicted_exits.room(rows);
    }

    // Whether decisions come from what the exits predict, and not from states.
    bool by_prediction() const { return statistic != KNOWN_EXITS && statistic <= AGREEMENT && statistic != COSINE; }

    // Keep what is needed of h^{n-1}, (count, width).
    void before_block(const float* states, int64_t count) const {
        if (statistic == COSINE) std::copy_n(states, count * width, workspace.previous_states.room(count * width));
    }

    // Whether a row leaves at n < N, by the logits of that exit.
    bool leaves(int64_t n, int64_t row, LogitRow& logits) const {
        if (statistic == LARGEST_PROBABILITY) return passes(n, logits.largest_probability());
        if (statistic == ENTROPY) return passes(n, logits.entropy());
        if (statistic == MARGIN) return passes(n, logits.margin());
        const int64_t token = logits.best_token();
        int64_t& agreeing = workspace.agreeing_exits.data()[row];
        int64_t& before = workspace.predicted_tokens.data()[row];
        agreeing = token == before ? agreeing + 1 : 1;
        before = token;
        return passes(n, static_cast<float>(agreeing));
    }

    // Whether rows leave at n < N, by their h^n, (count, width).
    //
    // Args:
    //   rows: their numbers, (count).
    //   leave: (count).
    void leaves(int64_t n, const int64_t* rows, const float* states, int64_t count, uint8_t* leave) const {
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.worth_threads_to_move(count * width))
        for (int64_t i = 0; i < count; ++i) leave[i] = leaves(n, rows[i], i, states + i * width);
    }

private:
    bool leaves(int64_t n, int64_t row, int64_t i, const float* state) const {
        if (statistic == KNOWN_EXITS) return n >= known_exits[row];
        if (statistic == COSINE) return n > 1 && passes(n, cosine(state, workspace.previous_states.data() + i * width));
        if (statistic == CHI) {
            const float logit = product(state, rule.weights[n - 1], width) + rule.biases[n - 1];
            return passes(n, 1.0f / (1.0f + std::exp(-logit)));
        }
        float& predicted = workspace.predicted_exits.data()[row];
        if (n == 1) predicted = predict_exit(state);
        return passes(n, predicted);
    }

    bool passes(int64_t n, float value) const {
        const float threshold = rule.thresholds[n - 1];
        switch (rule.comparison) {
            case ABOVE: return value > threshold;
            case BELOW: return value < threshold;
            case AT_LEAST: return value >= threshold;
            default: return value <= threshold;
        }
    }

    // As torch's cosine_similarity, but never outside [-1, 1].
    float cosine(const float* a, const float* b) const {
        constexpr float SMALLEST_NORM = 1e-8f;
        const auto norm = [this](const float* x) {
            const float found = std::sqrt(product(x, x, width));
            return found < SMALLEST_NORM ? SMALLEST_NORM : found;
        };
        const float value = product(a, b, width) / (norm(a) * norm(b));
        return value > 1.0f ? 1.0f : value < -1.0f ? -1.0f : value;
    }

    // The lowest of the most probable exits, or not a number.
    float predict_exit(const float* state) const {
        float best = -INFINITY;
        int64_t predicted = 1;
        for (int64_t n = 1; n <= blocks; ++n) {
            const float logit = product(state, rule.weights[n - 1], width) + rule.biases[n - 1];
            if (std::isnan(logit)) return logit;
            if (logit > best) {
                best = logit;
                predicted = n;
            }
        }
        return static_cast<float>(predicted);
    }

    const ExitRule& rule;
    const int32_t statistic;
    const int64_t blocks, width;
    const int64_t* const known_exits;
    Workspace& workspace;
};

}  // namespace
