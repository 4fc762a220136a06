// An exit's classifier and the best tokens behind it.
#pragma once

#include "best_tokens.h"
#include "sublayers.h"

// The layout of these structures is repeated in kernels.py.
extern "C" {

struct Classifier {
    const float *norm_weight, *norm_bias;  // or null
    float norm_epsilon;
    const void* projection;  // Linear
};

// Which tokens are the best; see best_tokens.
struct Choice {
    const int64_t* suppressed;
    int64_t num_suppressed, penalized;
    float penalty;
    int64_t wanted;
};
}

namespace {

constexpr float ANY_CONFIDENCE = -1.0f;

// Args:
//   logits: (rows, vocabulary), overwritten.
//   scores, tokens: of the best tokens, (rows, wanted); of rows whose largest probability exceeds `threshold`.
//   confidences: the largest probabilities, (rows), or null.
inline void choose(float* logits, int64_t rows, int64_t vocabulary, const Choice& choice, float* scores, int64_t* tokens,
                   float threshold = ANY_CONFIDENCE, float* confidences = nullptr) {
#pragma omp parallel for num_threads(thread_count) schedule(static) if (thread_count > 1 && rows > 4)
    for (int64_t row = 0; row < rows; ++row) {
        const float confidence =
            best_tokens(logits + row * vocabulary, vocabulary, choice.suppressed, choice.num_suppressed, choice.penalized, choice.penalty,
                        choice.wanted, threshold, scores + row * choice.wanted, tokens + row * choice.wanted);
        if (confidences != nullptr) confidences[row] = confidence;
    }
}

// hidden: h^n of the rows, (rows, width).
inline void classify(const Classifier& classifier, const float* hidden, int64_t rows, const Choice& choice, float* scores,
                     int64_t* tokens, float threshold = ANY_CONFIDENCE, float* confidences = nullptr) {
    constexpr int64_t AT_A_TIME = 112;  // the logits of a whole batch would take much memory
    static thread_local Buffer normed, logits;
    const Linear& projection = linear(classifier.projection);
    float* y = room(logits, std::min(rows, AT_A_TIME) * projection.outputs);
    for (int64_t first = 0; first < rows; first += AT_A_TIME) {
        const int64_t count = std::min(rows - first, AT_A_TIME);
        const float* x = hidden + first * projection.inputs;
        if (classifier.norm_weight != nullptr) {
            float* to = room(normed, count * projection.inputs);
            Norm{classifier.norm_weight, classifier.norm_bias, classifier.norm_epsilon}.apply_rows(x, to, count, projection.inputs);
            x = to;
        }
        projection.apply(x, count, y, Then::assign);
        choose(y, count, projection.outputs, choice, scores + first * choice.wanted, tokens + first * choice.wanted, threshold,
               confidences == nullptr ? nullptr : confidences + first);
    }
}

}  // namespace
