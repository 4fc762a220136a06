// Linear layers with int8 weights: a quarter of the memory to read.
//
// Weights have one scale an output, inputs one scale a row, found as they come. Inputs are shifted to be unsigned, as the
// instructions want them; what the shift adds to a sum is known beforehand and taken off again.
#pragma once

#include "linear.h"

namespace {

constexpr int GROUP = 4;  // inputs that one instruction multiplies and adds

#if defined(__AVX512VNNI__) || !defined(__AVX2__)
constexpr int INPUT_LIMIT = 127;
#else
constexpr int INPUT_LIMIT = 63;  // two products have to fit 16 bits
#endif
constexpr int SHIFT = INPUT_LIMIT + 1;

// sums[lane] += sum over four inputs of input (unsigned, the same for all lanes) times weight (signed).
inline Ints multiply_add(Ints sums, int32_t inputs, const int8_t* weights) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(inputs), load<__m512i>(weights));
#elif defined(__AVX2__)
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi32(inputs), load<__m256i>(weights));
    return sums + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    uint8_t x[GROUP];
    std::memcpy(x, &inputs, sizeof x);
    for (int lane = 0; lane < LANES; ++lane)
        for (int k = 0; k < GROUP; ++k) sums[lane] += x[k] * weights[lane * GROUP + k];
    return sums;
#endif
}

class Int8Linear final : public Linear {
public:
    Int8Linear(const float* weight, const float* bias, int64_t outputs, int64_t inputs)
        : Linear(bias, outputs, inputs),
          groups((inputs + GROUP - 1) / GROUP),
          weights(panels * groups * PANEL * GROUP, 0),
          scales(panels * PANEL, 0.0f),
          shifts(panels * PANEL, 0) {
        for (int64_t output = 0; output < outputs; ++output) {
            const float* row = weight + output * inputs;
            float largest = 0.0f;
            for (int64_t k = 0; k < inputs; ++k) largest = std::max(largest, std::fabs(row[k]));
            scales[output] = largest / 127;
            const float inverse = largest > 0 ? 127 / largest : 0;
            int8_t* panel = weights.data() + (output / PANEL) * groups * PANEL * GROUP;
            for (int64_t k = 0; k < inputs; ++k) {
                const int8_t value = static_cast<int8_t>(std::nearbyintf(row[k] * inverse));
                panel[(k / GROUP * PANEL + output % PANEL) * GROUP + k % GROUP] = value;
                shifts[output] += SHIFT * value;
            }
        }
    }

    void apply(const float* x, int64_t rows, float* y, Then then) const override {
        static thread_local std::vector<uint8_t> quantized;  // (rows, groups x GROUP)
        static thread_local std::vector<float> row_scales;
        quantized.assign(rows * groups * GROUP, SHIFT);
        row_scales.resize(rows);
        for (int64_t row = 0; row < rows; ++row)
            row_scales[row] = quantize(x + row * inputs, quantized.data() + row * groups * GROUP);
        const uint8_t* inputs_8 = quantized.data();
        const float* scales_x = row_scales.data();
        for_each_tile(rows, [&](auto height, int64_t row, int64_t panel) {
            tile<decltype(height)::value>(inputs_8, scales_x, row, panel, y, then);
        });
    }

private:
    // Returns the scale.
    float quantize(const float* x, uint8_t* q) const {
        float largest = 0.0f;
#pragma omp simd reduction(max : largest)
        for (int64_t k = 0; k < inputs; ++k) largest = std::max(largest, std::fabs(x[k]));
        const float inverse = largest > 0 ? INPUT_LIMIT / largest : 0;
#pragma omp simd
        for (int64_t k = 0; k < inputs; ++k)
            q[k] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyintf(x[k] * inverse)) + SHIFT);
        return largest / INPUT_LIMIT;
    }

    template <int ROWS>
    void tile(const uint8_t* x, const float* scales_x, int64_t first_row, int64_t panel, float* y, Then then) const {
        Ints sums[ROWS][2] = {};
        const int8_t* w = weights.data() + panel * groups * PANEL * GROUP;
        const int64_t stride = groups * GROUP;
        x += first_row * stride;
        for (int64_t group = 0; group < groups; ++group, w += PANEL * GROUP) {
            prefetch(w);
#pragma GCC unroll 16
            for (int row = 0; row < ROWS; ++row) {
                int32_t four;
                std::memcpy(&four, x + row * stride + group * GROUP, sizeof four);
                sums[row][0] = multiply_add(sums[row][0], four, w);
                sums[row][1] = multiply_add(sums[row][1], four, w + LANES * GROUP);
            }
        }
        const int32_t* shift = shifts.data() + panel * PANEL;
        const float* scale = scales.data() + panel * PANEL;
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row) {
            Floats halves[2];
            for (int half = 0; half < 2; ++half) {
                const Ints sum = sums[row][half] - load<Ints>(shift + half * LANES);
                halves[half] = __builtin_convertvector(sum, Floats) * load<Floats>(scale + half * LANES) * scales_x[first_row + row];
            }
            finish(halves[0], halves[1], panel, y + (first_row + row) * outputs, then);
        }
    }

    const int64_t groups;
    std::vector<int8_t> weights;  // (panels, groups, PANEL, GROUP)
    std::vector<float> scales;    // (panels x PANEL)
    std::vector<int32_t> shifts;  // (panels x PANEL): SHIFT times the sum of an output's weights
};

}  // namespace
