#include "core/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "core/files.h"
#include "core/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

// The bytes of a file with this header and these data.
std::string file_bytes(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

class SafetensorsTest : public testing::Test {
 protected:
  // Opens a file with these bytes; the message of the Error, or "opened".
  std::string open_bytes(const std::string& bytes) {
    write_file(path_, bytes);
    try {
      SafetensorsFile::open(path_);
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind(path_, 0), 0u) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
      return message;
    }
    return "opened";
  }
  void expect_refused(const std::string& header, const std::string& data, const std::string& text) {
    const std::string message = open_bytes(file_bytes(header, data));
    EXPECT_NE(message.find(text), std::string::npos) << header << "\ngave: " << message;
  }

  TempFolder folder_;
  std::string path_ = folder_ / "x.safetensors";
};

NamedTensors one_of_each() {
  return {{"u8", Tensor::from<std::uint8_t>({3}, {1, 2, 3})},
          {"f64", Tensor::from<double>({2}, {0.1, -0.0})},
          {"empty", Tensor::zeros({}, {0, 4}, DType::kF32)},
          {"bf16", Tensor::from<BFloat16>({2, 1}, {{0x3f80}, {0x7fc1}})},
          {"i64", Tensor::from<std::int64_t>({1}, {INT64_MIN})},
          {"scalar", Tensor::from<float>({}, {2.5f})},
          {"i32", Tensor::from<std::int32_t>({2}, {-1, 7})}};
}

TEST_F(SafetensorsTest, EveryDtypeComesBackBitEqual) {
  const NamedTensors tensors = one_of_each();
  write_safetensors(path_, tensors, {{"format", "pt"}, {"text", "q\"\n\\ü"}});
  const auto file = SafetensorsFile::open(path_);
  EXPECT_EQ(file.path(), path_);
  EXPECT_EQ(file.metadata().at("text"), "q\"\n\\ü");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"bf16", "empty", "f64", "i32", "i64", "scalar", "u8"}));
  for (const auto& [name, tensor] : tensors) {
    ASSERT_TRUE(file.contains(name));
    const Tensor back = file.tensor(name);
    EXPECT_EQ(back.dtype(), tensor.dtype()) << name;
    EXPECT_TRUE(back.shape() == tensor.shape()) << name;
    EXPECT_TRUE(file.shape(name) == tensor.shape()) << name;
    EXPECT_EQ(std::memcmp(back.raw(), tensor.raw(), tensor.bytes()), 0) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(back.raw()) % size_of(back.dtype()), 0u) << name;
  }
  EXPECT_EQ(file.stored_dtype("bf16"), "BF16");
  EXPECT_FALSE(file.contains("nope"));
}

TEST_F(SafetensorsTest, TheSameTensorsGiveTheSameBytes) {
  write_safetensors(path_, one_of_each());
  write_safetensors(folder_ / "y", one_of_each());
  EXPECT_EQ(read_file(path_), read_file(folder_ / "y"));
  EXPECT_EQ(read_file(path_).find("__metadata__"), std::string::npos);
}

TEST_F(SafetensorsTest, TensorsOutliveTheFileObjectAndTheFile) {
  write_safetensors(path_, {{"a", Tensor::from<float>({2}, {1, 2})}});
  const Tensor a = SafetensorsFile::open(path_).tensor("a");
  std::filesystem::remove(path_);
  EXPECT_EQ(a.to_vector<float>(), (std::vector<float>{1, 2}));
}

TEST_F(SafetensorsTest, ReadsThePublishedFixtures) {
  const auto file =
      SafetensorsFile::open(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/armt_llama_tiny.safetensors");
  EXPECT_EQ(file.names().size(), 244u);
  EXPECT_TRUE((file.shape("len80.logits") == Shape{2, 80, 97}));
  EXPECT_EQ(file.tensor("len73.labels_mask").dtype(), DType::kU8);
  EXPECT_TRUE(file.metadata().contains("meta"));
  for (const std::string& name : file.names()) EXPECT_TRUE(file.tensor(name).defined()) << name;
}

TEST_F(SafetensorsTest, AnEmptyFileOfTensorsIsFine) {
  write_safetensors(path_, {});
  EXPECT_TRUE(SafetensorsFile::open(path_).names().empty());
  EXPECT_EQ(open_bytes(file_bytes("{}", "")), "opened");
  EXPECT_EQ(open_bytes(file_bytes("{ }   \n ", "")), "opened");
}

TEST_F(SafetensorsTest, HalfPrecisionIsWidenedExactly) {
  const std::uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001,
                                  0x03ff, 0x0400, 0x7c00, 0xfc00, 0x7e00};
  write_file(path_, file_bytes(R"({"h":{"dtype":"F16","shape":[11],"data_offsets":[0,22]}})",
                               std::string(reinterpret_cast<const char*>(halves), 22)));
  const auto values = SafetensorsFile::open(path_).tensor("h").to_vector<float>();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> expected = {0.0f, -0.0f, 1.0f, -2.0f, 65504.0f, 0x1p-24f, 0x1.ff8p-15f, 0x1p-14f, inf, -inf};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i])) << i;
  }
  EXPECT_TRUE(std::isnan(values[10]));
}

TEST_F(SafetensorsTest, BooleansReadAsBytesAndUnalignedDataIsCopied) {
  write_file(path_, file_bytes(R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},)"
                               R"("f":{"dtype":"F32","shape":[1],"data_offsets":[3,7]}})",
                               std::string("\1\0\1\0\0\x80\x3f", 7)));
  const auto file = SafetensorsFile::open(path_);
  EXPECT_EQ(file.tensor("b").to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_EQ(file.tensor("f").to_vector<float>(), std::vector<float>{1.0f});
}

TEST_F(SafetensorsTest, MissingTensorsAndUnsupportedDtypesAreNamed) {
  write_file(path_, file_bytes(R"({"weight":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", "ab"));
  const auto file = SafetensorsFile::open(path_);
  EXPECT_ERROR(file.tensor("wieght"), Error, "x.safetensors: no tensor wieght, did you mean weight?");
  EXPECT_ERROR(file.shape("b"), Error, "no tensor b");
  EXPECT_ERROR(file.tensor("weight"), Error, "tensor weight has dtype F8_E4M3, which is not supported");
}

TEST_F(SafetensorsTest, RefusesWhatIsNoFile) {
  EXPECT_ERROR(SafetensorsFile::open(folder_ / "none"), Error, "none: No such file or directory");
  EXPECT_ERROR(SafetensorsFile::open(folder_.path()), Error, "not a regular file");
  EXPECT_NE(open_bytes("").find("only 0 bytes long"), std::string::npos);
  EXPECT_NE(open_bytes("1234567").find("only 7 bytes long"), std::string::npos);
}

TEST_F(SafetensorsTest, RefusesHostileHeaderLengths) {
  const auto with_length = [](std::uint64_t length, const std::string& rest) {
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    return out + rest;
  };
  EXPECT_NE(open_bytes(with_length(3, "{}")).find("truncated?"), std::string::npos);
  EXPECT_NE(open_bytes(with_length(~0ull, "{}")).find("claims 18446744073709551615 bytes"), std::string::npos);
  EXPECT_NE(open_bytes(with_length(~0ull - 7, "{}")).find("claims"), std::string::npos);
  EXPECT_NE(open_bytes(with_length(0, "{}")).find("not JSON"), std::string::npos);
  // A header over the limit, in a (sparse) file that is long enough for it.
  write_file(path_, with_length(100'000'001, "{}"));
  std::filesystem::resize_file(path_, 200'000'000);
  EXPECT_ERROR(SafetensorsFile::open(path_), Error, "claims 100000001 bytes");
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNotTheFormat) {
  expect_refused("", "", "not JSON");
  expect_refused("{", "", "not JSON");
  expect_refused("{} x", "", "not JSON");
  expect_refused("{\"\xff\":{}}", "", "not JSON");
  expect_refused("[]", "", "not a JSON object");
  expect_refused("3", "", "not a JSON object");
  expect_refused("-3", "", "not a JSON object");
  expect_refused("null", "", "not a JSON object");
  expect_refused("\"x\"", "", "not a JSON object");
  expect_refused(R"({"a":3})", "", "a is 3, expected an object");
  expect_refused(R"({"a":[]})", "", "a is a list, expected an object");
  expect_refused(R"({"a":true})", "", "a is true or false, expected an object");
  expect_refused(R"({"__metadata__":{"k":3}})", "", "__metadata__: k holds 3, expected text");
  expect_refused(R"({"__metadata__":{"k":{}}})", "", "__metadata__: k holds an object, expected text");
  expect_refused(R"({"__metadata__":{"k":[]}})", "", "__metadata__: k holds a list, expected text");
  expect_refused(R"({"__metadata__":{"k":"1","k":"2"}})", "", "__metadata__: k stands twice");
  expect_refused(R"({"__metadata__":{},"__metadata__":{}})", "", "the name __metadata__ stands twice");
  const std::string deep(200'000, '[');
  expect_refused(R"({"a":{"shape":)" + deep, "", "tensor a: shape holds a list");
  expect_refused(R"({"a":{"dtype":)" + deep, "", "tensor a: dtype holds a list, expected text");
}

TEST_F(SafetensorsTest, RefusesWrongTensors) {
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const std::string data(8, 'x');
  EXPECT_EQ(open_bytes(file_bytes("{\"a\":{" + good + "}}", data)), "opened");
  expect_refused("{\"a\":{" + good + "},\"a\":{" + good + "}}", data, "the name a stands twice");
  expect_refused("{\"a\":{" + good + ",\"shape\":[2]}}", data, "a: shape stands twice");
  expect_refused("{\"a\":{" + good + ",\"x\":1}}", data, "tensor a: unknown field x");
  const auto refused = [&](const std::string& fields, const std::string& text) {
    expect_refused("{\"a\":{" + fields + "}}", data, "tensor a" + text);
  };
  refused(R"("shape":[2],"data_offsets":[0,8])", ": dtype is missing");
  refused(R"("dtype":"F32","data_offsets":[0,8])", ": shape is missing");
  refused(R"("dtype":"F32","shape":[2])", ": data_offsets is missing");
  refused(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])", ": unknown dtype F33");
  refused(R"("dtype":7,"shape":[2],"data_offsets":[0,8])", ": dtype holds 7, expected text");
  refused(R"("dtype":"F32","shape":2,"data_offsets":[0,8])", ": shape holds 2, expected a list");
  refused(R"("dtype":"F32","shape":"2","data_offsets":[0,8])", ": shape holds text, expected a list");
  refused(R"("dtype":"F32","shape":{},"data_offsets":[0,8])", ": shape holds an object, expected a list");
  refused(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])", ": shape holds -2, expected");
  refused(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])", ": shape holds 2.0, expected");
  refused(R"("dtype":"F32","shape":[null],"data_offsets":[0,8])", ": shape holds null, expected");
  refused(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])", ": shape holds a list, expected");
  refused(R"("dtype":"F32","shape":[1e30],"data_offsets":[0,8])", ": shape holds 1e30, expected");
  refused(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", ": F32[3] needs 12 bytes, data_offsets give 8");
  refused(R"("dtype":"F64","shape":[2],"data_offsets":[0,8])", ": F64[2] needs 16 bytes, data_offsets give 8");
  refused(R"("dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8])", " has 7 extents, at most 6");
  refused(R"("dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,8])", ": its shape has more bytes");
  refused(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])", ": its shape has more bytes");
  refused(R"("dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0])", ": its shape has more bytes");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", ": bytes [8,0) lie outside");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,9])", ": data_offsets has 3 numbers, expected 2");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[])", ": data_offsets has 0 numbers, expected 2");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615])", ": bytes [");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[1,9])", ": bytes [1,9) lie outside the file's 8 bytes");
}

TEST_F(SafetensorsTest, RefusesOverlapsAndHoles) {
  const auto two = [](int a0, int a1, int b0, int b1) {
    return cat(R"({"a":{"dtype":"U8","shape":[)", a1 - a0, R"(],"data_offsets":[)", a0, ",", a1,
               R"(]},"b":{"dtype":"U8","shape":[)", b1 - b0, R"(],"data_offsets":[)", b0, ",", b1, "]}}");
  };
  EXPECT_EQ(open_bytes(file_bytes(two(4, 8, 0, 4), "12345678")), "opened");
  expect_refused(two(0, 5, 4, 8), "12345678", "tensor b overlaps the tensor before it");
  expect_refused(two(0, 8, 0, 8), "12345678", "overlaps the tensor before it");
  expect_refused(two(0, 8, 2, 4), "12345678", "tensor b overlaps the tensor before it");
  expect_refused(two(0, 3, 4, 8), "12345678", "bytes [3,4) before tensor b belong to no tensor");
  expect_refused(two(1, 4, 4, 8), "12345678", "bytes [0,1) before tensor a belong to no tensor");
  expect_refused(two(0, 3, 3, 7), "12345678", "1 bytes after the last tensor belong to none");
  expect_refused("{}", "x", "1 bytes after the last tensor belong to none");
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  write_safetensors(path_, one_of_each());
  const std::string whole = read_file(path_);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    ASSERT_NE(open_bytes(whole.substr(0, length)), "opened") << length;
  }
}

// A flipped bit may leave a valid file (in the data, in a name); it must never crash or lead out of the mapping.
TEST_F(SafetensorsTest, FlippedBitsNeverCrash) {
  write_safetensors(path_, one_of_each(), {{"k", "v"}});
  const std::string whole = read_file(path_);
  int refused = 0;
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    {
      // Not write_file: six thousand flushes to disk would take minutes.
      FILE* out = std::fopen(path_.c_str(), "wb");
      ASSERT_EQ(std::fwrite(damaged.data(), 1, damaged.size(), out), damaged.size());
      std::fclose(out);
    }
    try {
      const auto file = SafetensorsFile::open(path_);
      for (const std::string& name : file.names()) {
        const Tensor tensor = file.tensor(name);
        unsigned sum = 0;
        for (std::size_t i = 0; i < tensor.bytes(); ++i) sum += static_cast<const unsigned char*>(tensor.raw())[i];
        ASSERT_LE(sum, 255u * tensor.bytes());
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST_F(SafetensorsTest, WritingRefusesBadTensors) {
  const Tensor t = Tensor::from<float>({1}, {1});
  EXPECT_ERROR(write_safetensors(path_, {{"a", t}, {"a", t}}), Error, "tensor name a is used twice");
  EXPECT_ERROR(write_safetensors(path_, {{"__metadata__", t}}), Error,
               "tensor name __metadata__ is used twice or reserved");
  EXPECT_ERROR(write_safetensors(path_, {{"a", Tensor{}}}), Error, "tensor a is undefined");
  EXPECT_ERROR(write_safetensors(path_, {{"\xff", t}}), Error, "not UTF-8");
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SafetensorsTest, AFailedWriteLeavesTheEarlierFile) {
  write_safetensors(path_, {{"a", Tensor::from<float>({1}, {1})}});
  const std::string before = read_file(path_);
  {
    const FileSizeLimit limit(4096);
    EXPECT_ERROR(write_safetensors(path_, {{"a", Tensor::zeros({}, {10'000}, DType::kF32)}}), Error, "File too large");
  }
  EXPECT_EQ(read_file(path_), before);
  EXPECT_ERROR(write_safetensors("/dev/full", {{"a", Tensor::from<float>({1}, {1})}}), Error,
               "cannot write /dev/full: No space left on device");
  EXPECT_ERROR(write_safetensors("/proc/x.safetensors", {}), Error, "cannot write /proc/x.safetensors: ");
  EXPECT_ERROR(write_safetensors(folder_ / "none/x", {}), Error, "No such file or directory");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), std::filesystem::directory_iterator{}),
            1);
}

}  // namespace
}  // namespace wt
