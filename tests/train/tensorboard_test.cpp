// Event files read back: what TensorBoard is told of a run.
#include "train/run/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/eval/tensorboard_eval.h"
#include "train/run/checkpoint.h"
#include "train/run/crc32c.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// Reads the messages of an event file back: every checksum is verified. Field number -> raw value.
struct Event {
  double wall_time = 0;
  std::uint64_t step = 0;
  std::map<int, std::string> fields;
};

std::uint64_t varint(const std::string& bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(at++));
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

std::map<int, std::string> message(const std::string& bytes) {
  std::map<int, std::string> out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t key = varint(bytes, at);
    std::size_t size = 0;
    switch (key & 7) {
      case 0: {
        const std::size_t start = at;
        varint(bytes, at);
        size = at - start;
        at = start;
        break;
      }
      case 1:
        size = 8;
        break;
      case 2:
        size = varint(bytes, at);
        break;
      case 5:
        size = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
    }
    out[static_cast<int>(key >> 3)] = bytes.substr(at, size);
    at += size;
  }
  return out;
}

template <class T>
T fixed(const std::string& bytes) {
  T value{};
  EXPECT_EQ(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::vector<Event> read_events(const std::string& path) {
  const auto unmask = [](std::uint32_t masked) {
    const std::uint32_t rotated = masked - 0xa282ead8u;
    return (rotated >> 17) | (rotated << 15);
  };
  const std::string bytes = read_file(path);
  std::vector<Event> out;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto length = fixed<std::uint64_t>(bytes.substr(at, 8));
    EXPECT_EQ(unmask(fixed<std::uint32_t>(bytes.substr(at + 8, 4))), crc32c(bytes.data() + at, 8));
    const std::string body = bytes.substr(at + 12, length);
    EXPECT_EQ(unmask(fixed<std::uint32_t>(bytes.substr(at + 12 + length, 4))), crc32c(body.data(), body.size()));
    at += 16 + length;
    Event event;
    event.fields = message(body);
    event.wall_time = fixed<double>(event.fields.at(1));
    std::size_t start = 0;
    event.step = varint(event.fields.at(2), start);
    out.push_back(event);
  }
  return out;
}

TEST(TensorBoard, EventsReadBack) {
  const TempFolder folder;
  std::string path;
  {
    TensorBoardWriter writer(folder.path());
    writer.scalar("train/loss", 1.5, 3);
    writer.scalar(
        "a tag that is long enough for its length to need two bytes in the record around it, "
        "which is the case from one hundred and twenty-eight on",
        -0.25, 1'000'000'000'000);
    path = writer.path();
  }
  EXPECT_NE(path.find("/events.out.tfevents."), std::string::npos);
  const std::vector<Event> events = read_events(path);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].fields.at(3), "brain.Event:2");
  EXPECT_EQ(events[1].step, 3u);
  EXPECT_GT(events[1].wall_time, 1.7e9);
  const auto value = message(message(events[1].fields.at(5)).at(1));
  EXPECT_EQ(value.at(1), "train/loss");
  EXPECT_EQ(fixed<float>(value.at(2)), 1.5f);
  EXPECT_EQ(events[2].step, 1'000'000'000'000u);
  EXPECT_EQ(fixed<float>(message(message(events[2].fields.at(5)).at(1)).at(2)), -0.25f);
}

TEST(TensorBoard, AResumedRunStartsANewFileThatVoidsLaterSteps) {
  const TempFolder folder;
  const TensorBoardWriter first(folder.path());
  const TensorBoardWriter second(folder.path(), 41);
  EXPECT_NE(first.path(), second.path());
  const std::vector<Event> events = read_events(second.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].step, 41u);
  EXPECT_EQ(message(events[1].fields.at(7)).at(1), std::string(1, '\1'));
}

TEST(TensorBoard, FailuresAreErrors) {
  const TempFolder folder;
  EXPECT_ERROR(TensorBoardWriter(folder / "none"), Error, "No such file or directory");
  TensorBoardWriter writer(folder.path());
  const FileSizeLimit limit(16);
  EXPECT_ERROR(writer.scalar("x", 1, 1), Error, "File too large");
}

struct Summary {
  std::uint64_t step = 0;
  double scalar = 0;
  std::string text;  // where it is one
};

// By tag. A text is a string tensor without dimensions, marked for the text plugin.
std::multimap<std::string, Summary> read_summaries(const std::string& path) {
  std::multimap<std::string, Summary> out;
  for (const Event& event : read_events(path)) {
    if (event.fields.count(5) == 0) continue;
    const auto value = message(message(event.fields.at(5)).at(1));
    Summary summary{event.step, 0, ""};
    if (value.count(2) != 0) {
      summary.scalar = fixed<float>(value.at(2));
    } else {
      const auto tensor = message(value.at(8)), metadata = message(value.at(9));
      EXPECT_EQ(tensor.at(1), "\x07");
      EXPECT_EQ(tensor.at(2), "");
      EXPECT_EQ(message(metadata.at(1)).at(1), "text");
      EXPECT_EQ(metadata.at(4), "\x02");
      summary.text = tensor.at(8);
    }
    out.emplace(value.at(1), summary);
  }
  return out;
}

TEST(TensorBoard, TextsAreUtf8Tensors) {
  const TempFolder folder;
  TensorBoardWriter writer(folder.path());
  writer.text("a \xff tag", "# Ä \xc3 end", 7);
  const auto summaries = read_summaries(writer.path());
  ASSERT_EQ(summaries.size(), 1u);
  EXPECT_EQ(summaries.begin()->first, "a \uFFFD tag");
  EXPECT_EQ(summaries.begin()->second.step, 7u);
  EXPECT_EQ(summaries.begin()->second.text, "# Ä \uFFFD end");
}

TEST(TensorBoard, TextsAreShownAsTheyAre) {
  EXPECT_EQ(markdown_escaped("a|b *c* _d_ `e` [f](g) <h> & \\"),
            "a\\|b \\*c\\* \\_d\\_ \\`e\\` \\[f\\](g) &lt;h&gt; &amp; \\\\");
  EXPECT_EQ(markdown_escaped("two\nlines\r\x01\xb9"), "two lines  \uFFFD");
  EXPECT_EQ(markdown_code("a: 1\n\n  b: '*'"), "    a: 1\n    \n      b: '*'");
  EXPECT_EQ(markdown_code(""), "");
}

TEST(TensorBoard, AnEvaluationShowsTheFirstWrongAndRightAnswers) {
  const TempFolder folder;
  TensorBoardWriter writer(folder.path());
  EvalRow row;
  row.task = "qa1";
  row.length = "4k";
  row.samples = 20;
  row.correct = 5;
  row.official = 10;
  row.has_official = true;
  row.prompt_tokens = 100;
  row.seconds = 4;
  std::vector<EvalAnswer> answers;
  for (int i = 0; i < 20; ++i) {
    answers.push_back({cat("Where is ", i, "?"), "office", i == 0 ? "" : "a|b", i % 4 == 1, i % 2 == 1});
  }
  write_evaluation(writer, row, answers, false, "step_00000040", 60);
  const auto summaries = read_summaries(writer.path());
  ASSERT_EQ(summaries.size(), 4u);
  for (const auto& [tag, summary] : summaries) EXPECT_EQ(summary.step, 60u) << tag;
  EXPECT_EQ(summaries.find("eval/qa1/4k/accuracy")->second.scalar, 0.25);
  EXPECT_EQ(summaries.find("eval/qa1/4k/official_accuracy")->second.scalar, 0.5);
  EXPECT_EQ(summaries.find("eval/qa1/4k/tokens_per_second")->second.scalar, 25);
  EXPECT_EQ(summaries.find("answers/qa1/4k")->second.text,
            "qa1 at 4k: 5 of 20 right, weights of step\\_00000040\n\n"
            "| question | target | output | |\n|---|---|---|---|\n"
            "| Where is 0? | office | (nothing) | ✗ wrong |\n"
            "| Where is 2? | office | a\\|b | ✗ wrong |\n"
            "| Where is 3? | office | a\\|b | ✗ wrong |\n"
            "| Where is 4? | office | a\\|b | ✗ wrong |\n"
            "| Where is 6? | office | a\\|b | ✗ wrong |\n"
            "| Where is 7? | office | a\\|b | ✗ wrong |\n"
            "| Where is 8? | office | a\\|b | ✗ wrong |\n"
            "| Where is 10? | office | a\\|b | ✗ wrong |\n"
            "| Where is 1? | office | a\\|b | ✓ right |\n"
            "| Where is 5? | office | a\\|b | ✓ right |\n"
            "| Where is 9? | office | a\\|b | ✓ right |\n"
            "| Where is 13? | office | a\\|b | ✓ right |\n");
  // By BABILong's metric others are right; a task that is not known has no such figure.
  row.task = "";
  row.has_official = false;
  TensorBoardWriter other(folder.path());
  write_evaluation(other, row, answers, true, "", 60);
  const auto unknown = read_summaries(other.path());
  ASSERT_EQ(unknown.size(), 3u);
  EXPECT_NE(unknown.find("answers/all/4k")->second.text.find("| Where is 3? | office | a\\|b | ✓ right |"),
            std::string::npos);
}

// What all event files of a folder say together.
std::multimap<std::string, Summary> read_run(const std::string& run) {
  std::multimap<std::string, Summary> out;
  for (const auto& entry : fs::directory_iterator(run)) {
    if (entry.path().filename().string().find("tfevents") == std::string::npos) continue;
    for (const auto& summary : read_summaries(entry.path().string())) out.insert(summary);
  }
  return out;
}

TEST(TensorBoard, ARunHoldsConfigurationCurvesAndItsEvaluations) {
  const TempFolder folder;
  const std::string run = folder / "run";
  write_file(folder / "t.yaml", cat("run: {dir: ", run, ", device: cpu, threads: 1}\n",
                                    "model: {hidden_size: 16, intermediate_size: 24, num_layers: 2, num_heads: 2, "
                                    "armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4}}\n",
                                    "data: {task: qa1, books: none, tokenizer: ", WAVETAPE_SOURCE_DIR,
                                    "/data/tokenizer/tokenizer.json, max_facts: 6}\n",
                                    "train: {batch_size: 2, log_every: 2, validate_every: 2, validation_samples: 2, "
                                    "stages: [{segments: 2, steps: 4}]}\n",
                                    "eval: {lengths: [0k], samples: 3}\n"));
  const ProgramResult trained = run_program("train " + folder / "t.yaml");
  ASSERT_EQ(trained.code, 0) << trained.err;
  auto summaries = read_run(run);
  ASSERT_EQ(summaries.count("config"), 1u);
  EXPECT_EQ(summaries.find("config")->second.text, markdown_code(read_file(run + "/config.yaml")));
  EXPECT_EQ(summaries.count("train/loss"), 2u);
  ASSERT_EQ(summaries.count("eval/qa1/0k/accuracy"), 1u);
  EXPECT_EQ(summaries.find("eval/qa1/0k/accuracy")->second.step, 4u);
  EXPECT_EQ(summaries.count("eval/qa1/0k/official_accuracy"), 1u);
  EXPECT_GT(summaries.find("eval/qa1/0k/tokens_per_second")->second.scalar, 0);
  const CheckpointStore store(run, StoreMode::kRead);
  const std::string text = summaries.find("answers/qa1/0k")->second.text;
  EXPECT_NE(text.find(markdown_escaped(fs::path(store.folder_of(*store.best_step())).filename().string())),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| Where is "), std::string::npos) << text;

  // Another evaluation adds to it only where it goes to the run's folder, whatever that is called.
  ASSERT_EQ(run_program(cat("eval ", run, " --output ", folder / "elsewhere")).code, 0);
  EXPECT_EQ(read_run(run).count("eval/qa1/0k/accuracy"), 1u);
  ASSERT_EQ(
      run_program(cat("eval ", run, " --length 0k --samples 1 --output .."), cat("mkdir ", run, "/x; cd ", run, "/x;"))
          .code,
      0);
  EXPECT_EQ(read_run(run).count("eval/qa1/0k/accuracy"), 2u);

  // A resumption forgets nothing of the step that it goes on from.
  const ProgramResult more = run_program("train " + run + " --resume --no-eval train.stages.0.steps=6");
  ASSERT_EQ(more.code, 0) << more.err;
  std::uint64_t forgotten_from = 0;
  for (const auto& entry : fs::directory_iterator(run)) {
    if (entry.path().filename().string().find("tfevents") == std::string::npos) continue;
    for (const Event& event : read_events(entry.path().string())) {
      if (event.fields.count(7) != 0) forgotten_from = event.step;
    }
  }
  EXPECT_EQ(forgotten_from, 5u);
  EXPECT_EQ(read_run(run).count("config"), 2u);
}

}  // namespace
}  // namespace wt
