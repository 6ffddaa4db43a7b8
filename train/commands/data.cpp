#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "data/babi/simulator.h"
#include "data/babi/stories.h"
#include "data/books.h"
#include "data/eval_set.h"
#include "data/tokenizer.h"
#include "train/commands/commands.h"
#include "train/commands/seed_option.h"
#include "train/progress.h"
#include "train/run/open_books.h"
#include "train/signals.h"
#include "train/units.h"

namespace wt {
namespace {

struct BabiOptions {
  std::string task = "qa1";
  std::uint64_t stories = 1000;
  std::uint64_t seed = 1;
  std::string output;
};

void add_babi(CLI::App& data) {
  CLI::App* command = data.add_subcommand("babi", "Write simulated bAbI stories in bAbI's own file format");
  const auto options = std::make_shared<BabiOptions>();
  command->add_option("--task", options->task, "bAbI task, qa1 to qa20")->capture_default_str();
  command->add_option("--stories", options->stories, "Number of stories")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Another seed gives other stories")
      ->check(seed_check())
      ->capture_default_str();
  command->add_option("--output", options->output, "File to write")->required();
  command->footer("Example:\n  wavetape data babi --task qa1 --stories 1000 --seed 1 --output qa1.txt");
  command->callback([=] {
    const auto stories = simulate_stories(options->task, options->seed, options->stories);
    write_babi(options->output, stories);
    int questions = 0;
    for (const BabiStory& story : stories) questions += story.num_questions();
    fmt::print("{}: {} stories, {} questions\n", options->output, stories.size(), questions);
  });
}

struct BooksOptions {
  std::vector<std::string> inputs;
  std::string tokenizer, output;
};

void add_books(CLI::App& data) {
  CLI::App* command = data.add_subcommand("books", "Tokenise books and cut them into sentences, as background text");
  const auto options = std::make_shared<BooksOptions>();
  command->add_option("--input", options->inputs, "Text files, or folders that are searched for .txt")->required();
  command->add_option("--tokenizer", options->tokenizer, "A tokenizer.json, or a folder with one")->required();
  command->add_option("--output", options->output, "HDF5 file to write")->required();
  command->footer(
      "Example:\n  wavetape data books --input novels/ --tokenizer data/tokenizer/tokenizer.json --output books.h5");
  command->callback([=] {
    const Tokenizer tokenizer = Tokenizer::load(options->tokenizer);
    BooksSummary summary;
    {
      BooksBar bar;
      summary = tokenize_books(options->inputs, tokenizer, options->output,
                               [&](BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total) {
                                 bar.update(phase, name, done, total);
                               });
    }
    fmt::print("{}: {} books, {} sentences, {} tokens, {} of text\n", options->output, summary.num_books,
               summary.num_sentences, summary.num_tokens, human_bytes(static_cast<std::uint64_t>(summary.num_bytes)));
  });
}

struct BabilongOptions {
  EvalSetConfig set;
  std::string books, tokenizer, output;
  std::uint64_t seed = 1;
};

void add_babilong(CLI::App& data) {
  CLI::App* command = data.add_subcommand("babilong", "Make an evaluation set: questions on facts hidden in book text");
  const auto options = std::make_shared<BabilongOptions>();
  BabilongConfig& babilong = options->set.babilong;
  command->add_option("--task", babilong.stories.task, "bAbI task, qa1 to qa20")->capture_default_str();
  command->add_option("--length", options->set.length, "Tokens of prompt and answer: 0k, 4k, 1M, 5000")
      ->capture_default_str();
  const CLI::Option* samples =
      command
          ->add_option("--samples", options->set.num_samples, "Number of samples (--released: default all there are)")
          ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32))
          ->capture_default_str();
  command->add_flag("--released", options->set.released,
                    "As the published sets were made: all questions of bAbI's test file in its order, context of "
                    "length - 300 tokens (of GPT-2's tokenizer), stories of at most an eighth of that in lines");
  command->add_option("--babi", babilong.stories.babi, "A folder with bAbI's files (their test split), or simulate")
      ->capture_default_str();
  command->add_option("--books", options->books, "A books.h5, a .txt, a folder of .txt, or none at length 0k");
  command->add_option("--tokenizer", options->tokenizer, "A tokenizer.json, or a folder with one")->required();
  command->add_option("--seed", options->seed, "Another seed gives other samples")
      ->check(seed_check())
      ->capture_default_str();
  command->add_option("--min-sentence-len", babilong.min_sentence_len, "Shorter book sentences are skipped")
      ->capture_default_str();
  command->add_option("--max-sentence-len", babilong.max_sentence_len, "Longer ones are skipped, 0 for no limit")
      ->capture_default_str();
  command->add_option("--output", options->output, "File to write: HDF5 with tokens for .h5, else JSON")->required();
  command->footer(
      "Example:\n  wavetape data babilong --task qa1 --length 4k --samples 100 --books books.h5 \\\n"
      "    --tokenizer data/tokenizer/tokenizer.json --output qa1_4k.json\n"
      "  wavetape data babilong --released --task qa1 --length 4k --babi en-10k --books books.h5 \\\n"
      "    --tokenizer gpt2/ --output qa1_4k.json");
  command->callback([=] {
    if (options->set.released && samples->count() == 0) options->set.num_samples = 0;
    const Tokenizer tokenizer = Tokenizer::load(options->tokenizer);
    const bool has_books = !options->books.empty() && options->books != "none";
    const auto books = has_books ? open_books(options->books, tokenizer) : nullptr;
    std::int64_t count = 0;
    {
      const StopSignals signals;
      std::unique_ptr<Progress> progress;
      count = build_eval_set(options->set, tokenizer, books, options->seed, options->output,
                             [&](std::int64_t done, std::int64_t total) {
                               stop_if_requested(signals);
                               if (!progress) progress = std::make_unique<Progress>(stderr, "samples", total);
                               progress->update(done);
                             });
    }
    fmt::print("{}: {} samples of {} at {} tokens\n", options->output, count, options->set.babilong.stories.task,
               options->set.length);
  });
}

}  // namespace

void add_data(CLI::App& program) {
  CLI::App* data = program.add_subcommand("data", "Make stories, tokenised books and evaluation sets");
  data->require_subcommand(1);
  data->footer(
      "Example:\n  wavetape data books --input novels/ --tokenizer data/tokenizer/tokenizer.json --output books.h5");
  add_babi(*data);
  add_books(*data);
  add_babilong(*data);
}

}  // namespace wt
