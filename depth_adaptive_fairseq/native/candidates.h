// One row of logits: statistics of its softmax, and the best continuations without the whole log-softmax.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include "layout.h"
#include "simd.h"
#include "workspace.h"

extern "C" {

// Which continuations of a row are candidates of the beam. kernels.py repeats this structure.
struct CandidateOptions {
    const int64_t* suppressed;  // tokens that must not follow
    int64_t num_suppressed;
    int64_t penalized;  // a token that loses `penalty` once probabilities are known
    float penalty;
    int64_t count;  // candidates a row: 2 x beam
};
}

namespace {

LAYOUT(CandidateOptions, FIELD(suppressed) FIELD(num_suppressed) FIELD(penalized) FIELD(penalty) FIELD(count))

constexpr int64_t CHUNK = 64;  // logits whose largest is remembered: about as many as there are chunks in a vocabulary of thousands

inline float largest_of(const float* x, int64_t count) {
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

// The sum of exp(x - largest). A function of its own: with the members of a class in them, such loops are not vectorised.
inline float sum_of_exponentials(const float* x, int64_t count, float largest) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += cephes_expf(x[i] - largest);
    return sum;
}

// The sum of exp(d) and that of exp(d) d, for d = x - largest.
struct WeightedSum {
    float sum, weighted;
};
inline WeightedSum weighted_exponentials(const float* x, int64_t count, float largest) {
    float sum = 0.0f, weighted = 0.0f;
#pragma omp simd reduction(+ : sum, weighted)
    for (int64_t i = 0; i < count; ++i) {
        const float below = x[i] - largest;
        const float d = below > SMALLEST_EXPONENT ? below : SMALLEST_EXPONENT;  // 0 times infinity would be no number
        const float exponential = cephes_expf(below);
        sum += exponential;
        weighted += exponential * d;
    }
    return {sum, weighted};
}

inline bool all_numbers(const float* x, int64_t count) {
    int32_t others = 0;
#pragma omp simd reduction(+ : others)
    for (int64_t i = 0; i < count; ++i) others += x[i] == x[i] ? 0 : 1;
    return others == 0;
}

// Statistics are of the softmax of all logits, and asked for before the candidates. They are not a number where one of the logits
// is not.
class LogitRow {
public:
    // Args:
    //   logits: (vocabulary).
    //   space: has room (see make_room).
    LogitRow(float* logits, int64_t vocabulary, const ThreadSpace& space)
        : logits(logits), vocabulary(vocabulary), chunks(chunks_of(vocabulary)), space(space), maxima(space.chunk_maxima.data()) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) find_maximum(chunk);
        largest = largest_of(maxima, chunks);
    }

    static void make_room(int64_t vocabulary, ThreadSpace& space) {
        space.chunk_maxima.room(chunks_of(vocabulary));
        space.sorted_maxima.room(chunks_of(vocabulary));
        space.found.room(vocabulary);
    }

    float largest_probability() { return 1.0f / exponentials(); }

    // -sum p ln p, in nats: with d = logit - largest and Z = sum exp(d), ln Z - sum exp(d) d / Z. Neither term is negative.
    float entropy() {
        const WeightedSum of = weighted_exponentials(logits, vocabulary, largest);
        total = of.sum;
        return std::log(of.sum) - of.weighted / of.sum;
    }

    // The best minus the second-best probability.
    float margin() {
        const float scale = 1.0f / exponentials();
        return scale - cephes_expf(second_largest() - largest) * scale;
    }

    // The first of those with the largest logit, as torch.argmax, for which what is not a number is larger than any.
    int64_t best_token() const {
        if (!all_numbers(logits, vocabulary))
            return std::find_if(logits, logits + vocabulary, [](float logit) { return std::isnan(logit); }) - logits;
        const int64_t chunk = std::find(maxima, maxima + chunks, largest) - maxima;
        return std::find(logits + chunk * CHUNK, logits + vocabulary, largest) - logits;
    }

    // Log-probabilities and tokens of the best continuations, both (count), sorted, equal ones by number; overwrites the logits
    // of tokens that are suppressed or penalized.
    //
    // A token that is among the best is at least as good as the largest of the `count`-th best chunk, so only chunks that
    // reach that bound are looked into, which are few more than `count`.
    void candidates(const CandidateOptions& options, float* scores, int64_t* tokens) {
        const float log_normaliser = largest + std::log(exponentials());
        const int64_t count = options.count;
        for (int64_t i = 0; i < options.num_suppressed; ++i) logits[options.suppressed[i]] = -INFINITY;
        logits[options.penalized] -= options.penalty;
        for (int64_t i = 0; i < options.num_suppressed; ++i) find_maximum(options.suppressed[i] / CHUNK);
        find_maximum(options.penalized / CHUNK);

        float bound = -INFINITY;
        if (count < chunks) {
            float* const sorted = space.sorted_maxima.data();
            std::copy_n(maxima, chunks, sorted);
            std::nth_element(sorted, sorted + (count - 1), sorted + chunks, std::greater<float>());
            bound = sorted[count - 1];
        }
        int32_t* const found = space.found.data();
        int64_t num_found = 0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            if (!(maxima[chunk] >= bound)) continue;
            const int64_t first = chunk * CHUNK;
            for (int64_t i = first; i < first + size_of(chunk); ++i)
                if (logits[i] >= bound) found[num_found++] = static_cast<int32_t>(i);
        }
        const auto better = [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
        const int64_t there = std::min(count, num_found);
        std::partial_sort(found, found + there, found + num_found, better);
        for (int64_t i = 0; i < count; ++i) {
            const float score = i < there ? logits[found[i]] - log_normaliser : -INFINITY;
            scores[i] = std::isnan(score) ? -INFINITY : score;
            tokens[i] = i < there ? found[i] : 0;
        }
    }

private:
    static int64_t chunks_of(int64_t vocabulary) { return (vocabulary + CHUNK - 1) / CHUNK; }

    int64_t size_of(int64_t chunk) const { return std::min(CHUNK, vocabulary - chunk * CHUNK); }

    void find_maximum(int64_t chunk) { maxima[chunk] = largest_of(logits + chunk * CHUNK, size_of(chunk)); }

    float second_largest() const {
        const int64_t best = std::find(maxima, maxima + chunks, largest) - maxima;
        float second = -INFINITY;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
            if (chunk != best) second = std::max(second, maxima[chunk]);
        bool seen = false;  // the largest itself
        for (int64_t i = best * CHUNK; i < std::min(vocabulary, (best + 1) * CHUNK); ++i) {
            if (!seen && logits[i] == largest)
                seen = true;
            else
                second = logits[i] > second ? logits[i] : second;
        }
        return second;
    }

    // The sum of exp(logit - largest): the softmax's denominator.
    float exponentials() {
        if (total == 0.0f) total = sum_of_exponentials(logits, vocabulary, largest);
        return total;
    }

    float* const logits;
    const int64_t vocabulary, chunks;
    const ThreadSpace& space;
    float* const maxima;  // (chunks)
    float largest;
    float total = 0.0f;  // until it is asked for
};

}  // namespace
