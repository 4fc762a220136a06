// An encoder block on whole sentences.
#pragma once

#include "sublayers.h"

namespace {

class EncoderBlock : Sublayers {
public:
    // Args:
    //   hidden: (sentences, length, width), replaced by the block's output.
    //   attended: 0 at padding, (sentences, length), or null. What comes out at padding means nothing.
    EncoderBlock(const BlockLayers& layers, float* hidden, int64_t sentences, int64_t length, const uint8_t* attended,
                 Workspace& workspace)
        : Sublayers(layers, hidden, sentences * length, workspace), length(length), attended(attended) {}

    void run() {
        self_attention();
        feed_forward();
    }

private:
    void self_attention() {
        const Norm norm = self_norm();
        const float* const x = input(norm);
        const float* const queries = project(layers.query, x, rows, workspace.queries);
        const float* const keys_values = project(layers.keys_values, x, rows, workspace.projected);
        const float* const contexts = attend_rows(queries, length, [this, keys_values](int64_t i, const float** keys) {
            const int64_t first = i - i % length;
            int64_t count = 0;
            for (int64_t t = first; t < first + length; ++t)
                if (attended == nullptr || attended[t]) keys[count++] = keys_values + t * 2 * width;
            return count;
        });
        add(layers.self_out, contexts, norm);
    }

    const int64_t length;
    const uint8_t* const attended;
};

}  // namespace
