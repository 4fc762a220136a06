// An exit's classifier and the candidates behind it.
#pragma once

#include "candidates.h"
#include "sublayers.h"

extern "C" {

// kernels.py repeats this structure.
struct Classifier {
    const float *norm_weight, *norm_bias;  // or null
    float norm_epsilon;
    const void* projection;  // Linear
};
}

namespace {

LAYOUT(Classifier, FIELD(norm_weight) FIELD(norm_bias) FIELD(norm_epsilon) FIELD(projection))

// Candidates of rows of logits.
//
// Args:
//   logits: (rows, vocabulary), overwritten.
//   wanted: (number of a row, its LogitRow) tells whether candidates are looked for; called once for each row, by any thread.
//   place: of a row's candidates: the number of a row of scores and tokens.
//   scores, tokens: see LogitRow::candidates; (all places, options.count).
template <class Wanted, class Place>
inline void find_candidates(float* logits, int64_t rows, int64_t vocabulary, const CandidateOptions& options, const Wanted& wanted,
                            const Place& place, float* scores, int64_t* tokens, Workspace& workspace) {
    workspace.for_each_thread([&](ThreadSpace& space) { LogitRow::make_room(vocabulary, space); });
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.threads > 1 && rows > 4)
    for (int64_t i = 0; i < rows; ++i) {
        LogitRow row(logits + i * vocabulary, vocabulary, workspace.of_this_thread());
        if (wanted(i, row)) row.candidates(options, scores + place(i) * options.count, tokens + place(i) * options.count);
    }
}

// The same from h^n of the rows, `hidden`, (rows, width).
template <class Wanted, class Place>
inline void classify(const Classifier& classifier, const float* hidden, int64_t rows, const CandidateOptions& options,
                     const Wanted& wanted, const Place& place, float* scores, int64_t* tokens, Workspace& workspace) {
    constexpr int64_t AT_A_TIME = 112;  // the logits of a whole batch would take much memory; full tiles, of 14 rows or of 16
    const Linear& projection = linear(classifier.projection);
    const int64_t width = projection.inputs;
    float* const logits = workspace.logits.room(std::min(rows, AT_A_TIME) * projection.outputs);
    for (int64_t first = 0; first < rows; first += AT_A_TIME) {
        const int64_t count = std::min(rows - first, AT_A_TIME);
        const float* x = hidden + first * width;
        if (classifier.norm_weight != nullptr) {
            float* const normed = workspace.normed.room(count * width);
            const Norm norm{classifier.norm_weight, classifier.norm_bias, classifier.norm_epsilon};
            norm.apply_rows(x, normed, count, width, workspace);
            x = normed;
        }
        projection.apply(x, count, logits, Epilogue::store, workspace);
        find_candidates(
            logits, count, projection.outputs, options, [&](int64_t i, LogitRow& row) { return wanted(first + i, row); },
            [&](int64_t i) { return place(first + i); }, scores, tokens, workspace);
    }
}

// What `wanted` and `place` are where all rows have candidates, in their own order.
inline bool always(int64_t, LogitRow&) { return true; }
inline int64_t in_order(int64_t row) { return row; }

}  // namespace
