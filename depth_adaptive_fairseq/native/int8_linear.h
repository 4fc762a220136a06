// Linear layers with int8 weights: a quarter of the memory to read.
//
// Weights have one scale an output, inputs one scale a row, found as they come. Inputs are shifted to be unsigned, as the
// instructions want them; what the shift adds to a sum is known beforehand and taken off again.
#pragma once

#include <vector>

#include "linear.h"
#include "tiles.h"

namespace {

constexpr int GROUP = 4;  // inputs that one instruction multiplies and adds
#if defined(__AMX_TILE__)
constexpr int64_t GROUPS = TILE;         // their number is a multiple of this
// Rows from which on tiles are faster: measured on a Xeon with AMX, layers of 256 x 1024, 1024 x 256 and 256 x 5000.
constexpr int64_t FEWEST_FOR_TILES = 12;
#else
constexpr int64_t GROUPS = 1;
#endif

#if defined(__AVX512VNNI__) || !defined(__AVX2__)
constexpr int INPUT_LIMIT = 127;
#else
constexpr int INPUT_LIMIT = 63;  // two products have to fit 16 bits
#endif
constexpr int SHIFT = INPUT_LIMIT + 1;
constexpr float SMALLEST = 1e-36f;  // numbers below have no finite inverse

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
          groups((inputs + GROUP * GROUPS - 1) / (GROUP * GROUPS) * GROUPS),
          weights(panels * groups * PANEL * GROUP, 0),
          scales(panels * PANEL, 0.0f),
          shifts(panels * PANEL, 0) {
        for (int64_t output = 0; output < outputs; ++output) {
            const float* row = weight + output * inputs;
            float largest = 0.0f;
            for (int64_t k = 0; k < inputs; ++k) largest = std::max(largest, std::fabs(row[k]));
            scales[output] = largest / 127;
            const float inverse = largest > SMALLEST ? 127 / largest : 0;
            int8_t* panel = weights.data() + (output / PANEL) * groups * PANEL * GROUP;
            for (int64_t k = 0; k < inputs; ++k) {
                const int8_t value = static_cast<int8_t>(std::nearbyintf(row[k] * inverse));
                panel[(k / GROUP * PANEL + output % PANEL) * GROUP + k % GROUP] = value;
                shifts[output] += SHIFT * value;
            }
        }
    }

    void apply(const float* x, int64_t rows, float* y, Epilogue epilogue, Workspace& workspace) const override {
#if defined(__AMX_TILE__)
        if (rows >= FEWEST_FOR_TILES) return apply_by_tiles(x, rows, y, epilogue, workspace);
#endif
        const int64_t stride = groups * GROUP;
        uint8_t* const quantized = workspace.quantized.room(rows * stride);  // (rows, groups x GROUP)
        float* const row_scales = workspace.row_scales.room(rows);
        for (int64_t row = 0; row < rows; ++row) {
            const Scale scale = scale_of(x + row * inputs);
            quantize(x + row * inputs, inputs, stride, scale, quantized + row * stride);
            row_scales[row] = scale.of_steps;
        }
        for_each_tile(rows, workspace, [&](auto height, int64_t row, int64_t panel) {
            tile<decltype(height)::value>(quantized, row_scales, row, panel, y, epilogue);
        });
    }

private:
    struct Scale {
        float of_steps;  // what a step is worth: not a number where one of the inputs is not, or is infinite
        float inverse;   // how many steps 1 is
    };

    Scale scale_of(const float* x) const {
        float largest = 0.0f, zero = 0.0f;
#pragma omp simd reduction(max : largest) reduction(+ : zero)
        for (int64_t k = 0; k < inputs; ++k) {
            largest = std::max(largest, std::fabs(x[k]));
            zero += 0.0f * x[k];
        }
        if (zero != 0.0f) return {zero, NAN};
        return {largest / INPUT_LIMIT, largest > SMALLEST ? INPUT_LIMIT / largest : 0};
    }

    // To `size` bytes, of which `count` are inputs.
    static void quantize(const float* x, int64_t count, int64_t size, Scale scale, uint8_t* q) {
        const float inverse = scale.inverse;
        if (std::isnan(inverse)) count = 0;
#pragma omp simd
        for (int64_t k = 0; k < count; ++k)
            q[k] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyintf(x[k] * inverse)) + SHIFT);
        std::fill(q + count, q + size, static_cast<uint8_t>(SHIFT));
    }

    template <int ROWS>
    void tile(const uint8_t* x, const float* scales_x, int64_t first_row, int64_t panel, float* y, Epilogue epilogue) const {
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
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row)
            dequantize(sums[row][0], sums[row][1], scales_x[first_row + row], panel, y + (first_row + row) * outputs, epilogue);
    }

    // Store a tile's row of one panel (inlined: see finish).
    [[gnu::always_inline]] void dequantize(Ints first, Ints second, float scale_x, int64_t panel, float* row, Epilogue epilogue) const {
        const int32_t* shift = shifts.data() + panel * PANEL;
        const float* scale = scales.data() + panel * PANEL;
        const auto number = [&](Ints sum, int64_t lane) {
            return __builtin_convertvector(sum - load<Ints>(shift + lane), Floats) * load<Floats>(scale + lane) * scale_x;
        };
        finish(number(first, 0), number(second, LANES), panel, row, epilogue);
    }

#if defined(__AMX_TILE__)
    void apply_by_tiles(const float* x, int64_t rows, float* y, Epilogue epilogue, Workspace& workspace) const {
        const int64_t blocks = groups / TILE;
        uint8_t* const quantized = workspace.quantized.room(parts_of(rows, TILE) * blocks * TILE_BYTES);  // in tiles
        float* const row_scales = workspace.row_scales.room(rows);
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (worth_threads(rows, workspace))
        for (int64_t row = 0; row < rows; ++row) {
            const float* const from = x + row * inputs;
            const Scale scale = scale_of(from);
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t first = block * TILE_WIDTH, count = std::max<int64_t>(0, std::min(TILE_WIDTH, inputs - first));
                quantize(from + first, count, TILE_WIDTH, scale, quantized + place_in_tiles(row, block, blocks));
            }
            row_scales[row] = scale.of_steps;
        }
#pragma omp parallel num_threads(workspace.threads) if (worth_threads(rows, workspace))
        {
            const Tiles configured;
#pragma omp for schedule(static)
            for (int64_t panel = 0; panel < panels; ++panel)
                for (int64_t first = 0; first < rows; first += 2 * TILE) {
                    alignas(64) int32_t sums[2 * TILE][PANEL];
                    if (first + TILE < rows)
                        multiply<true>(quantized, first, panel, sums[0]);
                    else
                        multiply<false>(quantized, first, panel, sums[0]);
                    const int64_t behind = std::min(rows, first + 2 * TILE);
                    for (int64_t row = first; row < behind; ++row) {
                        const int32_t* of_row = sums[row - first];
                        dequantize(load<Ints>(of_row), load<Ints>(of_row + LANES), row_scales[row], panel, y + row * outputs, epilogue);
                    }
                }
        }
    }

    // Sums of 32 or 16 rows, from `row` on, (rows, PANEL).
    template <bool TWO>
    void multiply(const uint8_t* x, int64_t row, int64_t panel, int32_t* sums) const {
        static_assert(PANEL == 2 * TILE, "a panel is two tiles wide");
        const int64_t blocks = groups / TILE;
        const int8_t* w = weights.data() + panel * groups * PANEL * GROUP;
        x += row / TILE * blocks * TILE_BYTES;
        clear_sums<TWO>();
        for (int64_t block = 0; block < blocks; ++block) {
            load_weights(w + block * 2 * TILE_BYTES);
            load_rows<TWO>(x + block * TILE_BYTES, blocks * TILE_BYTES);
            multiply_tiles<TWO>();
        }
        store_sums<TWO>(sums);
    }
#endif

    const int64_t groups;
    std::vector<int8_t> weights;  // (panels, groups, PANEL, GROUP)
    std::vector<float> scales;    // (panels x PANEL)
    std::vector<int32_t> shifts;  // (panels x PANEL): SHIFT times the sum of an output's weights
};

}  // namespace
