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

// logits: (rows, vocabulary), overwritten; scores, tokens: (rows, wanted); confidences: largest probabilities, (rows), or null.
inline void choose(float* logits, int64_t rows, int64_t vocabulary, const Choice& choice, float* scores, int64_t* tokens,
                   float* confidences = nullptr) {
#pragma omp parallel for num_threads(thread_count) schedule(static) if (thread_count > 1 && rows > 4)
    for (int64_t row = 0; row < rows; ++row) {
        const float confidence =
            best_tokens(logits + row * vocabulary, vocabulary, choice.suppressed, choice.num_suppressed, choice.penalized,
                        choice.penalty, choice.wanted, scores + row * choice.wanted, tokens + row * choice.wanted);
        if (confidences != nullptr) confidences[row] = confidence;
    }
}

// hidden: h^n of the rows, (rows, width).
inline void classify(const Classifier& classifier, const float* hidden, int64_t rows, const Choice& choice, float* scores,
                     int64_t* tokens, float* confidences = nullptr) {
    static thread_local Buffer normed, logits;
    const Linear& projection = linear(classifier.projection);
    if (classifier.norm_weight != nullptr) {
        float* x = room(normed, rows * projection.inputs);
        Norm{classifier.norm_weight, classifier.norm_bias, classifier.norm_epsilon}.apply_rows(hidden, x, rows, projection.inputs);
        hidden = x;
    }
    float* y = room(logits, rows * projection.outputs);
    projection.apply(hidden, rows, y, Then::assign);
    choose(y, rows, projection.outputs, choice, scores, tokens, confidences);
}

}  // namespace
