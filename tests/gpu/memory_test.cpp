#include "kernels/memory.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Sizes {
  std::int64_t g, b, t, p, d;
  Shape rows() const { return {g, b, t, d}; }
  Shape features() const { return {g, b, t, p}; }
  Shape scalars() const { return {g, b, t}; }
  Shape state() const { return {g, b, p, d}; }
  Shape mass() const { return {g, b, p}; }
};

// Widths that are multiples of 8 and not, one row, more rows than a block has warps, few cells and many. (Of one row in
// one cell db would be a single sum of either sign, for which no relative tolerance holds.)
const Sizes kSizes[] = {{4, 4, 1, 12, 19},   {3, 2, 13, 12, 19}, {1, 2, 129, 48, 64}, {3, 1, 129, 36, 96},
                        {2, 3, 40, 384, 72}, {5, 2, 9, 33, 8},   {2, 4, 1, 40, 36},   {3, 4, 1, 384, 2048}};
const Sizes kLlama{4, 1, 1152, 384, 2048};

double tolerance(DType dtype) {
  return dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
}

Tensor magnitudes(Shape shape, std::uint64_t seed) {
  const Tensor x = normal(shape, seed);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = std::abs(x.data<float>()[i]);
  return x;
}

// φ as DPFP makes it: about a quarter of the features are not zero.
Tensor features(Shape shape, std::uint64_t seed) {
  const Tensor x = normal(shape, seed);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = std::max(0.0f, x.data<float>()[i] - 0.5f);
  for (std::int64_t i = 0; i < x.numel(); i += shape[-1]) x.data<float>()[i] = 1;
  return x;
}

std::uint8_t flags_of(std::int64_t cell) {
  const std::uint8_t sorts[] = {kCellActive, kCellActive | kCellFirst, 0, kCellActive};
  return sorts[cell % 4];
}

// Cells of every sort: later, first, inactive, later with padding, ….
Cells mixed_cells(const Sizes& s) {
  std::vector<std::uint8_t> flags;
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < s.g * s.b; ++i) {
    flags.push_back(flags_of(i));
    rows.push_back(static_cast<std::int32_t>(flags.back() == 0 ? 0 : s.t - i % 4 / 3));
  }
  return {Tensor::from<std::uint8_t>({s.g, s.b}, flags), Tensor::from<std::int32_t>({s.g, s.b}, rows)};
}

Cells on_gpu(const Cells& cells) {
  return {upload(cells.flags), upload(cells.rows)};
}

// Entry `cell` of a tensor with extents (G, B, …).
Tensor of_cell(const Tensor& t, std::int64_t cell) {
  return t.select(cell / t.dim(1)).select(cell % t.dim(1));
}

// The inputs, on the CPU in f32; those that are of the data's dtype on the GPU hold numbers of that dtype.
struct Inputs {
  Inputs(const Sizes& s, DType dtype)
      : cells(mixed_cells(s)),
        x(normal(s.rows(), 1)),
        phi(features(s.features(), 2)),
        b(normal(s.scalars(), 3)),
        a(normal(s.state(), 4)),
        z(magnitudes(s.mass(), 5)),
        dy(normal(s.rows(), 6)),
        da(normal(s.state(), 7)),
        dz(normal(s.mass(), 8)) {
    if (dtype == DType::kBF16) {
      for (Tensor* t : {&x, &phi, &b, &dy}) *t = rounded(*t);
    }
  }
  Cells cells;
  Tensor x, phi, b, a, z, dy, da, dz;
};

// Runs on the CPU in f32 or on the GPU, whichever `put` moves tensors to. Outputs are poisoned on the GPU.
struct Place {
  const Stream& stream;
  DType dtype;
  bool is_gpu() const { return stream.device().is_cuda(); }
  Tensor data(const Tensor& t) const { return is_gpu() ? upload(t, dtype) : t.clone(kCpu); }
  Tensor wide(const Tensor& t) const { return is_gpu() ? upload(t) : t.clone(kCpu); }
  Cells cells(const Cells& c) const { return is_gpu() ? on_gpu(c) : c; }
  Tensor fresh(Shape shape) const {
    return is_gpu() ? poisoned(shape, dtype) : Tensor::zeros(kCpu, shape, DType::kF32);
  }
  Tensor fresh_wide(Shape shape) const {
    return is_gpu() ? poisoned(shape, DType::kF32) : Tensor::zeros(kCpu, shape, DType::kF32);
  }
};

struct Named {
  const char* name;
  Tensor value;
};

std::vector<Named> run_read(const Sizes& s, const Inputs& in, const Place& at) {
  const Cells cells = at.cells(in.cells);
  const Tensor x = at.data(in.x), phi = at.data(in.phi), a = at.wide(in.a), z = at.wide(in.z), dy = at.data(in.dy);
  const Tensor y = at.fresh(s.rows()), den = at.fresh_wide(s.scalars());
  const Tensor least = at.wide(Tensor::from<float>({1}, {std::numeric_limits<float>::infinity()}));
  memory_read_forward(at.stream, x, phi, a, z, cells, y, den, least);
  const Tensor dphi = at.fresh(s.features()), da = at.fresh_wide(s.state()), dz = at.fresh_wide(s.mass());
  memory_read_backward(at.stream, dy, phi, a, z, den, cells, dphi, da, dz, GradMode::kOverwrite);
  const Tensor again = at.fresh(s.features()), more_a = at.wide(in.da), more_z = at.wide(in.dz);
  memory_read_backward(at.stream, dy, phi, a, z, den, cells, again, more_a, more_z, GradMode::kAccumulate);
  const Tensor skipped = at.fresh(s.features());
  memory_read_backward(at.stream, dy, phi, a, z, den, cells, skipped, {}, {}, GradMode::kSkip);
  return {{"y", y},
          {"den", den},
          {"min_den", least},
          {"dphi", dphi},
          {"da", da},
          {"dz", dz},
          {"dphi again", again},
          {"da added", more_a},
          {"dz added", more_z},
          {"dphi, no state gradient", skipped}};
}

std::vector<Named> run_write(const Sizes& s, const Inputs& in, const Place& at, bool correction, bool in_place) {
  const Cells cells = at.cells(in.cells);
  const Tensor k = at.data(in.phi), b = at.data(in.b), a = at.wide(in.a), z = at.wide(in.z);
  // What the error of an inactive cell holds is nobody's business, and differs: zero values make it zero everywhere.
  const Tensor values = in.x.clone(kCpu);
  for (std::int64_t cell = 0; cell < s.g * s.b; ++cell) {
    if (flags_of(cell) == 0) of_cell(values, cell).fill_zero(kCpu);
  }
  const Tensor v = at.data(values);
  const Tensor a_out = in_place ? a.clone(at.stream) : at.fresh_wide(s.state());
  const Tensor z_out = in_place ? z.clone(at.stream) : at.fresh_wide(s.mass());
  const MemoryWrite saved{at.fresh(s.rows()), at.fresh_wide(s.scalars()), at.fresh_wide(s.scalars())};
  const Tensor least = at.wide(Tensor::from<float>({1}, {std::numeric_limits<float>::infinity()}));
  memory_write_forward(at.stream, k, v, b, in_place ? a_out : a, in_place ? z_out : z, cells, correction, a_out, z_out,
                       saved, least);
  const Tensor da = at.wide(in.da), dz = at.wide(in.dz);
  const Tensor dk = at.fresh(s.features()), dv = at.fresh(s.rows()), db = at.fresh(s.scalars());
  memory_write_backward(at.stream, k, b, a, z, saved, cells, da, dz, dk, dv, db);
  return {{"a_out", a_out},
          {"z_out", z_out},
          {"error", saved.error},
          {"den", saved.den},
          {"gamma", saved.gamma},
          {"min_den", least},
          {"da", da},
          {"dz", dz},
          {"dk", dk},
          {"dv", dv},
          {"db", db}};
}

// The CPU's outputs, and the GPU's of two runs.
using Run = std::function<std::vector<Named>(const Inputs&, const Place&)>;
void compare(const Sizes& s, DType dtype, const Run& run) {
  SCOPED_TRACE(cat("G ", s.g, " B ", s.b, " T ", s.t, " P ", s.p, " D ", s.d, " ", name_of(dtype)));
  const Inputs in(s, dtype);
  const std::vector<Named> want = run(in, {kCpu, DType::kF32});
  const std::vector<Named> got = run(in, {gpu(), dtype}), again = run(in, {gpu(), dtype});
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(want[i].value.data<float>()[0])) {  // min_den where no cell reads
      EXPECT_TRUE(same_bytes(got[i].value, want[i].value)) << got[i].name;
      continue;
    }
    EXPECT_LT(relative_error(got[i].value, want[i].value), tolerance(dtype)) << got[i].name;
    EXPECT_TRUE(same_bytes(got[i].value, again[i].value)) << got[i].name;
  }
}

TEST(GpuMemory, ReadAgreesWithTheCpu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Sizes& s : kSizes) {
      compare(s, dtype, [&](const Inputs& in, const Place& at) { return run_read(s, in, at); });
    }
    compare(kLlama, dtype, [&](const Inputs& in, const Place& at) { return run_read(kLlama, in, at); });
  }
}

TEST(GpuMemory, WriteAgreesWithTheCpu) {
  Sizes llama = kLlama;
  llama.t = 128;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool correction : {true, false}) {
      for (const Sizes& s : kSizes) {
        compare(s, dtype, [&](const Inputs& in, const Place& at) { return run_write(s, in, at, correction, false); });
      }
      compare(llama, dtype,
              [&](const Inputs& in, const Place& at) { return run_write(llama, in, at, correction, false); });
    }
  }
}

TEST(GpuMemory, WriteInPlaceGivesTheSameBits) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Sizes& s : kSizes) {
      const Inputs in(s, dtype);
      const auto apart = run_write(s, in, {gpu(), dtype}, true, false);
      const auto in_place = run_write(s, in, {gpu(), dtype}, true, true);
      for (std::size_t i = 0; i < apart.size(); ++i) {
        EXPECT_TRUE(same_bytes(apart[i].value, in_place[i].value)) << apart[i].name;
      }
    }
  }
}

TEST(GpuMemory, MaskedCellsAreExact) {
  const Sizes s{2, 2, 13, 24, 40};  // later, first, inactive, later
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Inputs in(s, dtype);
    const Place at{gpu(), dtype};
    const auto read = run_read(s, in, at), write = run_write(s, in, at, true, false);
    const auto value = [](const std::vector<Named>& all, const std::string& name, std::int64_t cell) {
      for (const Named& n : all) {
        if (n.name == name) return of_cell(n.value.to_cpu(gpu()), cell);
      }
      ADD_FAILURE() << name;
      return Tensor{};
    };
    const auto zeros_like = [](const Tensor& t) { return Tensor::zeros(kCpu, t.shape(), t.dtype()); };
    for (const std::int64_t cell : {1, 2}) {
      EXPECT_TRUE(same_bytes(value(read, "y", cell), of_cell(in.x.to(kCpu, dtype), cell)));
      EXPECT_TRUE(same_bytes(value(read, "da added", cell), of_cell(in.da, cell)));
      EXPECT_TRUE(same_bytes(value(read, "dz added", cell), of_cell(in.dz, cell)));
      for (const char* name : {"dphi", "da", "dz"}) {
        const Tensor got = value(read, name, cell);
        EXPECT_EQ(relative_error(got, zeros_like(got)), 0) << name;
      }
    }
    EXPECT_TRUE(same_bytes(value(write, "a_out", 2), of_cell(in.a, 2)));
    EXPECT_TRUE(same_bytes(value(write, "z_out", 2), of_cell(in.z, 2)));
    EXPECT_TRUE(same_bytes(value(write, "da", 2), of_cell(in.da, 2)));
    EXPECT_TRUE(same_bytes(value(write, "dz", 2), of_cell(in.dz, 2)));
    for (const char* name : {"dk", "dv", "db", "gamma"}) {
      const Tensor got = value(write, name, 2);
      EXPECT_EQ(relative_error(got, zeros_like(got)), 0) << name;
    }
  }
}

TEST(GpuMemory, MinimumOfTheDenominatorSkipsPaddingAndKeepsWhatIsThere) {
  const Sizes s{1, 1, 3, 8, 8};
  const Tensor phi = Tensor::zeros(kCpu, s.features(), DType::kF32);
  for (std::int64_t i = 0; i < 3; ++i) phi.data<float>()[i * 8] = static_cast<float>(3 - i);  // masses 3, 2, 1
  const Tensor z = Tensor::zeros(kCpu, s.mass(), DType::kF32);
  z.data<float>()[0] = 1;
  const Cells cells{Tensor::from<std::uint8_t>(gpu(), {1, 1}, {kCellActive}),
                    Tensor::from<std::int32_t>(gpu(), {1, 1}, {2})};
  const Tensor x = poisoned(s.rows(), DType::kF32), y = poisoned(s.rows(), DType::kF32);
  x.fill_zero(gpu());
  const Tensor den = poisoned(s.scalars(), DType::kF32), a = upload(normal(s.state(), 1));
  const auto least_after = [&](float before) {
    const Tensor least = Tensor::from<float>(gpu(), {1}, {before});
    memory_read_forward(gpu(), x, upload(phi), a, upload(z), cells, y, den, least);
    return least.to_cpu(gpu()).data<float>()[0];
  };
  EXPECT_NEAR(least_after(std::numeric_limits<float>::infinity()), 2, 1e-4);
  EXPECT_EQ(least_after(0.5f), 0.5f);
  memory_read_forward(gpu(), x, upload(phi), a, upload(z), cells, y, den, {});  // nobody asks
}

TEST(GpuMemory, NoRows) {
  const Sizes s{2, 2, 0, 12, 19};
  const Inputs in(s, DType::kF32);
  const Place at{gpu(), DType::kF32};
  const auto read = run_read(s, in, at);
  const Tensor da = read[4].value;
  EXPECT_EQ(relative_error(da, Tensor::zeros(kCpu, s.state(), DType::kF32)), 0);
  const auto write = run_write(s, in, at, true, false);
  EXPECT_TRUE(same_bytes(write[0].value, in.a));
  EXPECT_TRUE(same_bytes(write[1].value, in.z));
}

// NaN is the smallest denominator whatever its sign, and stays it.
TEST(GpuMemory, NotANumberIsTheSmallestDenominator) {
  for (const std::int64_t t : {1, 9}) {
    const Sizes s{1, 2, t, 40, 36};
    Inputs in(s, DType::kF32);
    for (std::int64_t i = 0; i < 2; ++i) {
      in.cells.flags.data<std::uint8_t>()[i] = kCellActive;
      in.cells.rows.data<std::int32_t>()[i] = static_cast<std::int32_t>(t);
    }
    const auto fold = [&](const Place& at, bool write, const Tensor& least) {
      const Tensor phi = at.data(in.phi), a = at.wide(in.a), z = at.wide(in.z), x = at.data(in.x);
      if (write) {
        const MemoryWrite saved{at.fresh(s.rows()), at.fresh_wide(s.scalars()), at.fresh_wide(s.scalars())};
        memory_write_forward(at.stream, phi, x, at.data(in.b), a, z, at.cells(in.cells), true, at.fresh_wide(s.state()),
                             at.fresh_wide(s.mass()), saved, least);
      } else {
        memory_read_forward(at.stream, x, phi, a, z, at.cells(in.cells), at.fresh(s.rows()), at.fresh_wide(s.scalars()),
                            least);
      }
      return least.to_cpu(at.stream).data<float>()[0];
    };
    const Place cpu{kCpu, DType::kF32}, on{gpu(), DType::kF32};
    float& mass = in.z.data<float>()[s.p];  // of the second cell's first feature, which every row has
    const float whole = mass;
    for (const bool write : {false, true}) {
      for (const Place& at : {cpu, on}) {
        SCOPED_TRACE(cat(t, " rows, write ", write, ", GPU ", at.is_gpu()));
        const auto start = [&](float before) { return at.wide(Tensor::from<float>({1}, {before})); };
        EXPECT_NEAR(fold(at, write, start(1e30f)), fold(cpu, write, Tensor::from<float>({1}, {1e30f})), 1e-3);
        EXPECT_EQ(fold(at, write, start(-7.0f)), -7.0f);
        EXPECT_EQ(fold(at, write, start(1e-9f)), 1e-9f);
        for (const float sign : {1.0f, -1.0f}) {
          const Tensor least = start(1e30f);
          mass = std::copysign(std::numeric_limits<float>::quiet_NaN(), sign);
          EXPECT_TRUE(std::isnan(fold(at, write, least)));
          mass = whole;
          EXPECT_TRUE(std::isnan(fold(at, write, least)));
        }
        mass = -1e6f;  // a negative denominator is below those of positive sign
        EXPECT_LT(fold(at, write, start(1e30f)), 0);
        mass = whole;
      }
    }
  }
}

}  // namespace
}  // namespace wt::kernels
