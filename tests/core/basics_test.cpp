#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/shape.h"
#include "core/split_float.h"
#include "core/tensor.h"
#include "core/text.h"
#include "core/wave.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

TEST(Cat, JoinsTextNumbersBooleansAndDescribables) {
  EXPECT_EQ(cat("a", 1, 'b', true, false, 2.5, -3LL, std::uint8_t{7}, Shape{2, 3}), "a1btruefalse2.5-37[2,3]");
  EXPECT_EQ(cat(), "");
  EXPECT_EQ(cat(1e-5f, ' ', 123456789.0), "9.99999975e-06 123456789");
}

TEST(Check, FailingCheckThrowsItsTextOrItsCondition) {
  EXPECT_NO_THROW(WT_CHECK(1 + 1 == 2, "never"));
  EXPECT_ERROR(WT_CHECK(1 + 1 == 3, "sum is ", 2), Error, "sum is 2");
  EXPECT_ERROR(WT_CHECK(1 + 1 == 3, ""), Error, "check failed: 1 + 1 == 3");
}

class Step : public ErrorContext {
 public:
  explicit Step(std::string text) : text_(std::move(text)) {}
  std::string describe() const override { return text_; }

 private:
  std::string text_;
};

TEST(ErrorContexts, AreAddedInnermostFirstAndEndWithTheirScope) {
  EXPECT_EQ(ErrorContext::current(), "");
  const Step outer("step 3");
  {
    const Step inner("wave 17, layers [3,6)");
    EXPECT_ERROR(WT_CHECK(false, "rms_norm: bad"), Error, "rms_norm: bad; wave 17, layers [3,6); step 3");
  }
  EXPECT_ERROR(WT_CHECK(false, "rms_norm: bad"), Error, "rms_norm: bad; step 3");
}

TEST(ErrorContexts, BelongToTheirThread) {
  const Step outer("main");
  std::string seen = "unset";
  std::thread([&] { seen = ErrorContext::current(); }).join();
  EXPECT_EQ(seen, "");
  EXPECT_EQ(ErrorContext::current(), "main");
}

TEST(ErrorContexts, SurviveAnException) {
  try {
    const Step inner("inner");
    WT_CHECK(false, "x");
  } catch (const Error&) {
  }
  EXPECT_EQ(ErrorContext::current(), "");
}

TEST(DTypes, NamesSizesAndKinds) {
  const std::vector<std::tuple<DType, std::string, std::size_t, bool>> expected = {
      {DType::kF64, "f64", 8, true},  {DType::kF32, "f32", 4, true},  {DType::kBF16, "bf16", 2, true},
      {DType::kI64, "i64", 8, false}, {DType::kI32, "i32", 4, false}, {DType::kI16, "i16", 2, false},
      {DType::kU8, "u8", 1, false}};
  for (const auto& [dtype, name, size, floating] : expected) {
    EXPECT_EQ(name_of(dtype), name);
    EXPECT_EQ(dtype_from_name(name), dtype);
    EXPECT_EQ(size_of(dtype), size);
    EXPECT_EQ(is_floating(dtype), floating);
  }
  EXPECT_ERROR(dtype_from_name("f16"), UsageError, "unknown dtype 'f16': expected f64, f32, bf16, i64, i32, i16 or u8");
}

TEST(DTypes, DispatchRunsTheRightTypeAndRefusesOthers) {
  EXPECT_EQ(dispatch_real(DType::kF64, []<class T>() { return sizeof(T); }), 8u);
  EXPECT_EQ(dispatch_real(DType::kF32, []<class T>() { return sizeof(T); }), 4u);
  EXPECT_ERROR(dispatch_real(DType::kBF16, []<class T>() { return sizeof(T); }), Error,
               "dtype is bf16, expected f32 or f64");
}

TEST(BFloat16, RoundsToNearestTiesToEven) {
  const auto rounded = [](std::uint32_t bits) { return to_bfloat16(std::bit_cast<float>(bits)).bits; };
  EXPECT_EQ(rounded(0x3f800000), 0x3f80);  // 1
  EXPECT_EQ(rounded(0x3f807fff), 0x3f80);  // just below half: down
  EXPECT_EQ(rounded(0x3f808000), 0x3f80);  // half: to even, down
  EXPECT_EQ(rounded(0x3f818000), 0x3f82);  // half: to even, up
  EXPECT_EQ(rounded(0x3f808001), 0x3f81);  // just above half: up
  EXPECT_EQ(rounded(0xbf808001), 0xbf81);
  EXPECT_EQ(rounded(0x7f7fffff), 0x7f80);  // largest float: infinity
  EXPECT_EQ(rounded(0x7f800000), 0x7f80);
  EXPECT_EQ(rounded(0xff800000), 0xff80);
  EXPECT_EQ(rounded(0x80000000), 0x8000);
  EXPECT_EQ(rounded(0x00000001), 0x0000);
  for (const std::uint32_t nan : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(to_float(BFloat16{rounded(nan)}))) << std::hex << nan;
  }
}

TEST(BFloat16, EveryValueSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const BFloat16 value{static_cast<std::uint16_t>(bits)};
    if (std::isnan(to_float(value))) continue;
    ASSERT_EQ(to_bfloat16(to_float(value)).bits, bits);
  }
}

TEST(SplitFloat, HalvesGiveTheNumberBack) {
  const auto check = [](std::uint32_t bits) {
    const auto x = std::bit_cast<float>(bits);
    const SplitFloat halves = split_float(x);
    const float upper = to_float(BFloat16{halves.high}), back = join_float(halves);
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(upper) && std::isnan(back)) << std::hex << bits;
      return;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(back), bits) << std::hex << bits;
    // The upper half is the nearest bfloat16; only a tie may go the other way.
    const bool tie = (bits & 0xffffu) == 0x8000u;
    ASSERT_TRUE(tie || halves.high == to_bfloat16(x).bits) << std::hex << bits;
  };
  // Every sign and exponent with the mantissas at which rounding changes its mind.
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) check((high << 16) | low);
  }
}

TEST(Devices, NamesAndErrors) {
  EXPECT_TRUE(device_from_name("cpu").is_cpu());
  EXPECT_FALSE(device_from_name("cpu").is_cuda());
  EXPECT_EQ(Device{}.str(), "cpu");
  EXPECT_EQ((Device{DeviceType::kCUDA, 2}.str()), "cuda:2");
  EXPECT_ERROR(device_from_name("gpu"), UsageError, "unknown device 'gpu': expected cpu, cuda, cuda:N or auto");
  EXPECT_ERROR(device_from_name("cuda:x"), UsageError, "unknown device 'cuda:x'");
  // Far beyond any machine: an error whether or not this build and machine have CUDA.
  EXPECT_ERROR(device_from_name("cuda:63"), Error, "device cuda:63: ");
  const Stream stream;
  stream.synchronize();
  EXPECT_EQ(stream.device(), Device{});
  EXPECT_EQ(stream.native(), nullptr);
}

TEST(Shapes, ExtentsCountsAndText) {
  Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape.numel_from(1), 12);
  EXPECT_EQ(shape.numel_from(3), 1);
  EXPECT_EQ(shape.str(), "[2,3,4]");
  EXPECT_EQ(Shape{}.str(), "[]");
  EXPECT_EQ(Shape{}.numel(), 1);
  shape.set(1, 5);
  EXPECT_TRUE((shape == Shape{2, 5, 4}));
  EXPECT_FALSE((shape == Shape{2, 5}));
  EXPECT_FALSE((shape == Shape{2, 5, 5}));
}

TEST(Shapes, RefuseWhatTheyCannotHold) {
  Shape shape{2, 3};
  EXPECT_ERROR(shape[2], Error, "shape [2,3] has no extent 2");
  EXPECT_ERROR(shape[-3], Error, "shape [2,3] has no extent -3");
  EXPECT_ERROR(shape.set(0, -1), Error, "cannot set extent 0 to -1");
  EXPECT_ERROR(shape.append(-1), Error, "extent -1 of a shape is negative");
  EXPECT_ERROR((Shape{1, 1, 1, 1, 1, 1, 1}), Error, "at most 6 extents");
  EXPECT_ERROR((Shape{1LL << 40, 1LL << 40}.numel()), Error, "more elements than 64 bits count");
}

TEST(Tensors, SlicesAndSelectionsShareMemory) {
  const Tensor t = Tensor::from<float>({3, 2}, {0, 1, 2, 3, 4, 5});
  const Tensor rows = t.slice(1, 3);
  EXPECT_TRUE((rows.shape() == Shape{2, 2}));
  EXPECT_EQ(rows.to_vector<float>(), (std::vector<float>{2, 3, 4, 5}));
  const Tensor row = t.select(1);
  EXPECT_TRUE((row.shape() == Shape{2}));
  row.data<float>()[0] = 9;
  EXPECT_EQ(t.data<float>()[2], 9);
  EXPECT_TRUE(t.overlaps(row));
  EXPECT_FALSE(t.slice(0, 1).overlaps(t.slice(1, 2)));
  EXPECT_FALSE(t.overlaps(t.clone({})));
  EXPECT_EQ(t.reshape({2, 3}).select(1).to_vector<float>(), (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(t.str(), "f32[3,2]");
  EXPECT_EQ(Tensor{}.str(), "undefined");
}

TEST(Tensors, KeepTheirMemoryAliveThroughViews) {
  Tensor view;
  {
    const Tensor t = Tensor::from<std::int64_t>({4}, {1, 2, 3, 4});
    view = t.slice(2, 4);
  }
  EXPECT_EQ(view.to_vector<std::int64_t>(), (std::vector<std::int64_t>{3, 4}));

  const auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2});
  const Tensor over = Tensor::view_of(owner->data(), {2}, DType::kF32, owner);
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_EQ(over.raw(), owner->data());
}

TEST(Tensors, ZerosCopiesAndEmptyOnes) {
  const Tensor zeros = Tensor::zeros({}, {2, 2}, DType::kF64);
  EXPECT_EQ(zeros.to_vector<double>(), std::vector<double>(4, 0.0));
  EXPECT_EQ(zeros.bytes(), 32u);
  const Tensor source = Tensor::from<double>({2, 2}, {1, 2, 3, 4});
  zeros.copy_from({}, source);
  EXPECT_EQ(zeros.to_vector<double>(), source.to_vector<double>());
  zeros.fill_zero({});
  EXPECT_EQ(zeros.data<double>()[3], 0);
  const Tensor none = Tensor::zeros({}, {0, 5}, DType::kF32);
  EXPECT_TRUE(none.defined());
  EXPECT_EQ(none.numel(), 0);
  none.copy_from({}, none.clone({}));
}

TEST(Tensors, ConvertBetweenFloatingTypes) {
  const Tensor doubles = Tensor::from<double>({3}, {1.0, 1.00390625, -2.5});
  EXPECT_EQ(doubles.to({}, DType::kF32).to_vector<float>(), (std::vector<float>{1.0f, 1.00390625f, -2.5f}));
  const Tensor bf16 = doubles.to({}, DType::kBF16);  // 1 + 2^-8 is a tie: to even, 1
  EXPECT_EQ(bf16.to({}, DType::kF64).to_vector<double>(), (std::vector<double>{1.0, 1.0, -2.5}));
  EXPECT_EQ(bf16.to({}, DType::kF32).dtype(), DType::kF32);
  EXPECT_EQ(doubles.to({}, DType::kF64).raw(), doubles.raw());
  EXPECT_ERROR(Tensor::from<std::int32_t>({1}, {1}).to({}, DType::kF32), Error, "cannot convert i32[1]");
}

TEST(Tensors, RefuseWrongUse) {
  const Tensor t = Tensor::from<float>({3, 2}, {0, 1, 2, 3, 4, 5});
  EXPECT_ERROR(t.data<double>(), Error, "tensor [3,2] is f32, expected f64");
  EXPECT_ERROR(t.slice(1, 4), Error, "slice [1,4) of tensor [3,2]");
  EXPECT_ERROR(t.slice(2, 1), Error, "slice [2,1)");
  EXPECT_ERROR(Tensor{}.slice(0, 0), Error, "slice [0,0)");
  EXPECT_ERROR(t.reshape({4}), Error, "tensor [3,2] cannot be seen as [4]");
  EXPECT_ERROR(t.copy_from({}, t.slice(0, 1)), Error, "copy of f32[1,2] into f32[3,2]");
  EXPECT_ERROR(Tensor::from<float>({2}, {1}), Error, "tensor [2] from 1 values");
  EXPECT_ERROR(WT_CHECK_SHAPE("op", t, 2, 3), Error, "op: t is [3,2], expected [2,3] (2, 3)");
  EXPECT_NO_THROW(WT_CHECK_SHAPE("op", t, 3, 2));
}

TEST(Waves, KnowTheirLayersAndItems) {
  const Wave wave{3, 6, {5, 4, 3}};
  EXPECT_EQ(wave.size(), 3);
  EXPECT_EQ(wave.item_of(4), 4);
  EXPECT_EQ(wave.str(), "layers [3,6)");
  EXPECT_TRUE((wave == Wave{3, 6, {5, 4, 3}}));
}

TEST(MemoryPool, CountsUseAndPeakAndAligns) {
  const Stream cpu;
  const MemoryUse before = memory_use({});
  reset_peak({});
  void* a = allocate(cpu, 1000);
  void* b = allocate(cpu, 1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b) % 64, 0u);
  const std::uint64_t used = memory_use({}).current - before.current;
  EXPECT_GE(used, 1001u);
  EXPECT_LE(used, 1000u * 9 / 8 + 64 + 64);
  deallocate(cpu, a, 1000);
  deallocate(cpu, b, 1);
  EXPECT_EQ(memory_use({}).current, before.current);
  EXPECT_EQ(memory_use({}).peak, before.current + used);
  reset_peak({});
  EXPECT_EQ(memory_use({}).peak, before.current);
  deallocate(cpu, nullptr, 64);
  EXPECT_EQ(memory_use({}).current, before.current);
}

TEST(MemoryPool, HoldsEverySizeItIsAskedFor) {
  const Stream cpu;
  for (std::size_t bytes = 1; bytes < 5'000'000; bytes = bytes * 9 / 8 + 1) {
    auto* block = static_cast<unsigned char*>(allocate(cpu, bytes));
    block[0] = 1;
    block[bytes - 1] = 2;
    deallocate(cpu, block, bytes);
  }
  release_pool({});
}

#ifndef WAVETAPE_NO_POOL
TEST(MemoryPool, GivesAFreedBlockToTheNextCallerOfThatSize) {
  const Stream cpu;
  void* a = allocate(cpu, 777'777);
  deallocate(cpu, a, 777'777);
  void* b = allocate(cpu, 777'700);  // the same size class
  EXPECT_EQ(a, b);
  deallocate(cpu, b, 777'700);
  release_pool({});
}
#endif

TEST(MemoryPool, SaysHowMuchWasAskedForWhenThereIsNoMore) {
  EXPECT_ERROR(allocate({}, std::size_t{1} << 60), Error, "out of memory: asked for 1152921504606846976 bytes");
}

TEST(MemoryPool, IsThreadSafe) {
  const std::uint64_t before = memory_use({}).current;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 2000; ++i) {
        const auto bytes = static_cast<std::size_t>(64 * (1 + (i * 7 + t) % 13));
        auto* block = static_cast<int*>(allocate({}, bytes));
        *block = t;
        std::this_thread::yield();
        ASSERT_EQ(*block, t);
        deallocate({}, block, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory_use({}).current, before);
}

TEST(NearestWord, FindsSlipsAndNothingElse) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(edit_distance("same", "same"), 0);
  const std::vector<std::string> keys = {"hidden_size", "num_heads", "lr"};
  EXPECT_EQ(nearest("hiden_size", keys), "hidden_size");
  EXPECT_EQ(nearest("num_haeds", keys), "num_heads");
  EXPECT_EQ(nearest("rl", keys), "lr");
  EXPECT_EQ(nearest("colour", keys), "");
  EXPECT_EQ(did_you_mean("hiden_size", keys), ", did you mean hidden_size?");
  EXPECT_EQ(did_you_mean("colour", keys), "");
}

}  // namespace
}  // namespace wt
