// Linear layers whose weights lie in the order in which they are read.
//
// The outputs are cut into panels of two vectors. A panel's weights are stored input by input, so that a tile of rows times a
// panel reads them once, from beginning to end, and keeps all sums in registers. At batch 1 that is what a layer costs.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "simd.h"
#include "workspace.h"

namespace {

constexpr int PANEL = 2 * LANES;

// Ask for the weights that are wanted a little later: the processor itself does not look beyond a page of memory. At one row this
// takes a sixth to a third off a layer of 256 x 1024 whose weights are not in the second cache, with 1 to 16 KB ahead about
// alike (measured on a Xeon with AMX, float32 and int8).
inline void prefetch(const void* weights) {
    constexpr int AHEAD = 4096, LINE = 64;
    for (size_t line = 0; line < 2 * sizeof(Floats); line += LINE)
        __builtin_prefetch(static_cast<const char*>(weights) + AHEAD + line);
}

// What becomes of x W^T + b before it leaves the registers: it is stored, its positive part is, or it is added to what is there.
enum class Epilogue { store, relu, add };

inline Floats positive(Floats x) {
    const Floats zero{};
    return x < zero ? zero : x;  // what is not a number stays so
}

class Linear {
public:
    Linear(const float* bias, int64_t outputs, int64_t inputs)
        : outputs(outputs), inputs(inputs), panels((outputs + PANEL - 1) / PANEL), bias(panels * PANEL, 0.0f) {
        if (bias != nullptr) std::copy(bias, bias + outputs, this->bias.begin());
    }
    virtual ~Linear() = default;

    // y = x W^T + b (see Epilogue) for `rows` rows of x, (rows, inputs), and y, (rows, outputs).
    virtual void apply(const float* x, int64_t rows, float* y, Epilogue epilogue, Workspace& workspace) const = 0;

    const int64_t outputs, inputs, panels;

protected:
    // An estimate: waking threads up costs a few microseconds, in which a core multiplies about so often.
    bool worth_threads(int64_t rows, const Workspace& workspace) const {
        return workspace.threads > 1 && rows * outputs * inputs > 100000;
    }

    // tile(height, row, panel) for all rows and panels; the height is a constant, of at most TILE_ROWS. Tiles are about equally
    // high: a low one waits for its few sums.
    template <class Tile>
    void for_each_tile(int64_t rows, const Workspace& workspace, const Tile& tile) const {
        const int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
#pragma omp parallel for num_threads(workspace.threads) schedule(static) if (worth_threads(rows, workspace))
        for (int64_t panel = 0; panel < panels; ++panel)
            for (int64_t number = 0; number < tiles; ++number) {
                const int64_t row = number * rows / tiles;
                with_height<TILE_ROWS>((number + 1) * rows / tiles - row, [&](auto height) { tile(height, row, panel); });
            }
    }

    template <int HEIGHT, class Function>
    static void with_height(int64_t wanted, const Function& function) {
        if constexpr (HEIGHT > 0) {
            if (wanted == HEIGHT) return function(std::integral_constant<int, HEIGHT>{});
            with_height<HEIGHT - 1>(wanted, function);
        }
    }

    // Store a tile's row of one panel. Inlined: at one row and int8 weights a call costs 4 % of a step (on a Xeon with AMX).
    [[gnu::always_inline]] void finish(Floats first, Floats second, int64_t panel, float* row, Epilogue epilogue) const {
        const float* b = bias.data() + panel * PANEL;
        first += load<Floats>(b);
        second += load<Floats>(b + LANES);
        float* to = row + panel * PANEL;
        const int64_t width = std::min<int64_t>(PANEL, outputs - panel * PANEL);
        if (epilogue == Epilogue::relu) {
            first = positive(first);
            second = positive(second);
        }
        if (width == PANEL) {
            if (epilogue == Epilogue::add) {
                first += load<Floats>(to);
                second += load<Floats>(to + LANES);
            }
            store(to, first);
            store(to + LANES, second);
            return;
        }
        float last[PANEL];
        store(last, first);
        store(last + LANES, second);
        for (int64_t j = 0; j < width; ++j) to[j] = epilogue == Epilogue::add ? to[j] + last[j] : last[j];
    }

    std::vector<float> bias;  // (panels x PANEL)
};

}  // namespace
