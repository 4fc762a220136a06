// An encoder block on whole sentences.
#pragma once

#include "sublayers.h"

namespace {

class EncoderBlock : Sublayers {
public:
    // Args:
    //   hidden: (sentences, length, width), replaced by the block's output.
    //   real: 0 at padding, (sentences, length), or null. What comes out at padding means nothing.
    EncoderBlock(const BlockLayers& layers, float* hidden, int64_t sentences, int64_t length, const uint8_t* real)
        : Sublayers(layers, hidden, sentences * length), length(length), real(real) {}

    void run() {
        self_attention();
        feed_forward();
    }

private:
    void self_attention() {
        static thread_local Buffer normed, queries, keys_values, contexts;
        const Norm norm = self_norm();
        const float* x = input(norm, room(normed, rows * width));
        float* q = room(queries, rows * width);
        linear(layers.query).apply(x, rows, q, Then::assign);
        float* both = room(keys_values, rows * 2 * width);
        linear(layers.keys_values).apply(x, rows, both, Then::assign);
        float* context = room(contexts, rows * width);
        attend_rows(q, length, context, [this, both](int64_t i, std::vector<const float*>& places) {
            const int64_t first = i - i % length;
            for (int64_t t = first; t < first + length; ++t)
                if (real == nullptr || real[t]) places.push_back(both + t * 2 * width);
        });
        add(layers.self_out, context, norm);
    }

    const int64_t length;
    const uint8_t* real;
};

}  // namespace
