// The best continuations of a row without its whole log-softmax.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "simd.h"

namespace {

constexpr int64_t CHUNK = 64;  // logits whose largest is remembered

inline float largest_of(const float* x, int64_t count) {
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

// log-probabilities and tokens of the `wanted` best tokens of a row, sorted, equal ones by number.
//
// A token that is among the best is at least as good as the largest of the `wanted`-th best chunk, so only chunks that
// reach that bound are looked into, which are few more than `wanted`.
//
// Args:
//   logits: (vocabulary); the suppressed ones are overwritten.
//   suppressed: tokens that must not follow.
//   penalized: a token that loses `penalty` once probabilities are known.
//   threshold: nothing is looked for unless the largest probability of all tokens, which is returned, exceeds it.
inline float best_tokens(float* logits, int64_t vocabulary, const int64_t* suppressed, int64_t num_suppressed, int64_t penalized,
                        float penalty, int64_t wanted, float threshold, float* scores, int64_t* tokens) {
    static thread_local std::vector<float> maxima, sorted;
    static thread_local std::vector<int64_t> found;
    const int64_t chunks = (vocabulary + CHUNK - 1) / CHUNK;
    const auto size = [&](int64_t chunk) { return std::min(CHUNK, vocabulary - chunk * CHUNK); };
    maxima.resize(chunks);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) maxima[chunk] = largest_of(logits + chunk * CHUNK, size(chunk));
    const float largest = largest_of(maxima.data(), chunks);
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < vocabulary; ++i) total += exponential(logits[i] - largest);
    const float confidence = 1.0f / total;
    if (confidence <= threshold) return confidence;
    const float log_normaliser = largest + std::log(total);

    for (int64_t i = 0; i < num_suppressed; ++i) logits[suppressed[i]] = -INFINITY;
    logits[penalized] -= penalty;
    const auto again = [&](int64_t token) {
        const int64_t chunk = token / CHUNK;
        maxima[chunk] = largest_of(logits + chunk * CHUNK, size(chunk));
    };
    for (int64_t i = 0; i < num_suppressed; ++i) again(suppressed[i]);
    again(penalized);

    float bound = -INFINITY;
    if (wanted < chunks) {
        sorted = maxima;
        std::nth_element(sorted.begin(), sorted.begin() + (wanted - 1), sorted.end(), std::greater<float>());
        bound = sorted[wanted - 1];
    }
    found.clear();
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        if (!(maxima[chunk] >= bound)) continue;
        const int64_t first = chunk * CHUNK;
        for (int64_t i = first; i < first + size(chunk); ++i)
            if (logits[i] >= bound) found.push_back(i);
    }
    const auto better = [&](int64_t a, int64_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
    const int64_t there = std::min<int64_t>(wanted, found.size());
    std::partial_sort(found.begin(), found.begin() + there, found.end(), better);
    for (int64_t i = 0; i < wanted; ++i) {
        const float score = i < there ? logits[found[i]] - log_normaliser : -INFINITY;
        scores[i] = std::isnan(score) ? -INFINITY : score;
        tokens[i] = i < there ? found[i] : 0;
    }
    return confidence;
}

}  // namespace
