// What the CPU's matrix products cost, counted where they are done: tests hold the FLOPs that a model is said to take
// (train/costs.h) to it.
#pragma once

#include <cstdint>

namespace wt::kernels::cpu {

// Floating-point operations of all products since the program began: 2·m·n·k of one, whatever the dtype. Of causal
// attention's T×T products half: a row meets the rows before it and, on average, half of its own block of one. With
// rows before these, T·(past + T/2) pairs. Of a scan's products between the rows of a chunk half as well.
std::int64_t product_flops();

// Once a kernel, or once a task of one; from any thread.
void count_product_flops(std::int64_t flops);

}  // namespace wt::kernels::cpu
