// Layer norm, and attention of single queries over keys and values that lie anywhere.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace {

struct Norm {
    const float *weight, *bias;
    float epsilon;

    void apply(const float* x, float* y, int64_t width) const {
        float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; ++i) sum += x[i];
        const float mean = sum / width;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
        const float scale = 1.0f / std::sqrt(squares / width + epsilon);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }

    void apply_rows(const float* x, float* y, int64_t rows, int64_t width, const Workspace& workspace) const {
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (workspace.worth_threads_to_move(rows * width))
        for (int64_t row = 0; row < rows; ++row) apply(x + row * width, y + row * width, width);
    }
};

inline float sum_of(Floats x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)x);
#else
    float sum = 0.0f;
    for (int lane = 0; lane < LANES; ++lane) sum += x[lane];
    return sum;
#endif
}

inline float product(const float* a, const float* b, int64_t count) {
    Floats sums{};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) sums += load<Floats>(a + i) * load<Floats>(b + i);
    float sum = sum_of(sums);
    for (; i < count; ++i) sum += a[i] * b[i];
    return sum;
}

// In place, of `count` numbers.
inline void softmax(float* x, int64_t count) {
    float largest = -INFINITY, total = 0.0f;
    for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < count; ++i) {
        x[i] = cephes_expf(x[i] - largest);
        total += x[i];
    }
    const float scale = 1.0f / total;
    for (int64_t i = 0; i < count; ++i) x[i] *= scale;
}

// softmax(query keys^T / sqrt(head width)) values, for all heads of one query.
//
// Args:
//   query, context: (width).
//   keys: where each of `count` keys and behind it its value begin, (2 width) each.
//   weights: room for `count` numbers.
inline void attend(const float* query, const float* const* keys, int64_t count, int64_t width, int64_t heads, float* weights,
                   float* context) {
    const int64_t head_width = width / heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_width));
    for (int64_t first = 0; first < width; first += head_width) {
        for (int64_t i = 0; i < count; ++i) weights[i] = product(query + first, keys[i] + first, head_width) * scale;
        softmax(weights, count);
        int64_t j = first;
        for (; j + LANES <= first + head_width; j += LANES) {
            Floats sums{};
            for (int64_t i = 0; i < count; ++i) sums += weights[i] * load<Floats>(keys[i] + width + j);
            store(context + j, sums);
        }
        for (; j < first + head_width; ++j) {
            context[j] = 0.0f;
            for (int64_t i = 0; i < count; ++i) context[j] += weights[i] * keys[i][width + j];
        }
    }
}

}  // namespace
