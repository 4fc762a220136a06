// Linear layers with float32 weights.
#pragma once

#include "linear.h"

namespace {

// Weights and sums in float32.
class FloatLinear final : public Linear {
public:
    FloatLinear(const float* weight, const float* bias, int64_t outputs, int64_t inputs)
        : Linear(bias, outputs, inputs), weights(panels * inputs * PANEL, 0.0f) {
        for (int64_t output = 0; output < outputs; ++output)
            for (int64_t k = 0; k < inputs; ++k)
                weights[((output / PANEL) * inputs + k) * PANEL + output % PANEL] = weight[output * inputs + k];
    }

    void apply(const float* x, int64_t rows, float* y, Epilogue epilogue, Workspace& workspace) const override {
        for_each_tile(rows, workspace,
                      [&](auto height, int64_t row, int64_t panel) { tile<decltype(height)::value>(x, row, panel, y, epilogue); });
    }

private:
    template <int ROWS>
    void tile(const float* x, int64_t first_row, int64_t panel, float* y, Epilogue epilogue) const {
        Floats sums[ROWS][2] = {};
        const float* w = weights.data() + panel * inputs * PANEL;
        x += first_row * inputs;
        for (int64_t k = 0; k < inputs; ++k, w += PANEL) {
            prefetch(w);
            const Floats w0 = load<Floats>(w), w1 = load<Floats>(w + LANES);
#pragma GCC unroll 16
            for (int row = 0; row < ROWS; ++row) {
                const float value = x[row * inputs + k];
                sums[row][0] += value * w0;
                sums[row][1] += value * w1;
            }
        }
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; ++row)
            finish(sums[row][0], sums[row][1], panel, y + (first_row + row) * outputs, epilogue);
    }

    std::vector<float> weights;  // (panels, inputs, PANEL)
};

}  // namespace
