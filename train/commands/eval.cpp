// wavetape eval: generated answers, counted by task and length.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/text.h"
#include "train/commands/commands.h"
#include "train/commands/reading_options.h"
#include "train/commands/seed_option.h"
#include "train/eval/evaluate.h"
#include "train/eval/evaluation.h"
#include "train/eval/generate.h"
#include "train/models/model_io.h"
#include "train/notice.h"

namespace wt {
namespace {

void run(const EvalRequest& o, const ModelLocation& location, EvalSettings settings) {
  const Stream stream(device_for(o.device, dtype_from_name(o.dtype)));
  Evaluation evaluation(o, std::move(settings), location, stream);
  int signal = 0;
  try {
    signal = evaluation.run();
  } catch (const NotFinite& error) {
    throw Error(cat(location.weights, ": ", error.what()));
  }
  if (!evaluation.rows().empty()) std::printf("%s", eval_table(evaluation.rows()).c_str());
  if (signal != 0) throw ExitWith{128 + signal};
}

}  // namespace

void evaluate_run(const Config& config) {
  EvalRequest o;
  o.model = o.output = config.run.dir;
  o.dtype = name_of(config.run.dtype);
  o.device = config.run.device;
  const ModelLocation location = find_model(o.model, print_notice);
  EvalSettings settings = eval_settings_of(config);
  settings.data.tokenizer = location.tokenizer;
  run(o, location, std::move(settings));
}

void add_eval(CLI::App& program) {
  auto o = std::make_shared<EvalRequest>();
  CLI::App* command = program.add_subcommand("eval", "Generate answers and count exact matches, by task and length");
  command->add_option("MODEL", o->model, "Model folder, or run folder (then its settings are the defaults)")
      ->required();
  command
      ->add_option("--task", o->tasks,
                   "bAbI tasks: qa1 qa2 … or qa1,qa2 (default: the run's, else qa1; with --set: the one it is of)")
      ->delimiter(',');
  command
      ->add_option("--length", o->lengths,
                   "0k, 4k, 1M, tokens, 4x: times the trained length, or 50p: pairs (default: the run's, else 0k)")
      ->delimiter(',');
  command->add_option("--samples", o->samples, "Samples per task and length (default: the run's, else 100)")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--set", o->sets, "Evaluation sets to use instead: JSON lists or HDF5 from 'data babilong'");
  command->add_option(
      "--babi", o->babi,
      "simulate, or a folder with bAbI's files, whose test split is used (default: the run's, else simulate)");
  command->add_option("--books", o->books,
                      "A books.h5, a .txt, a folder of .txt, or none (default: the run's, else none)");
  command->add_option("--tokenizer", o->tokenizer, "A tokenizer.json, or a folder with one (default: the model's)");
  command->add_option("--batch-size", o->batch_size, "Samples computed together (default: the run's, else 16)")
      ->check(CLI::Range(1, 100000));
  command
      ->add_option("--max-new-tokens", o->max_new_tokens,
                   "Longest answer (default: the run's, else 12; with --prompts 20)")
      ->check(CLI::Range(1, 100000));
  command->add_option("--seed", o->seed, "Seed of the samples (default: the run's, else 1)")->check(seed_check());
  auto* prompts =
      command->add_option("--prompts", o->prompts,
                          "Prompts around the samples, for instruction models: data/prompts.yaml or a file like it");
  auto* chat = command->add_flag("--chat", o->chat, "With --prompts: put them into the model's chat template");
  chat->needs(prompts);
  command->add_option("--system", o->system, "With --chat: the system message")->needs(chat);
  command->add_option(
      "--output", o->output,
      "Folder for eval.csv, eval.json and answers.csv, or for the files of --layout official; a run's own gets the "
      "figures for TensorBoard, too (default: the table is printed alone)");
  command
      ->add_option("--layout", o->layout,
                   "plain, or official: the CSV and JSON of each task and length that BABILong's "
                   "leaderboard reads ('wavetape score' too)")
      ->check(CLI::IsMember({"plain", "official"}))
      ->capture_default_str();
  command->add_option("--name", o->name, "Configuration in the official files' names (default: the prompt's parts)");
  command->add_option("--plot", o->plot, "SVG to write: accuracy by length, a line for each task");
  add_segment_size(command, o->reading);
  add_strategy(command, o->reading);
  command->add_option("--schedule", o->schedule, "auto (streaming; RMT: sequential), sequential, diagonal or streaming")
      ->capture_default_str();
  command->add_option("--dtype", o->dtype, "What to compute in; on a CPU bf16 only rounds the weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->add_flag("--show", o->show, "Print every question with the model's answer");
  command->footer(
      "Example:\n  wavetape eval runs/quickstart --length 4x 16x 64x --samples 100 --output results\n"
      "  wavetape eval MODEL --set qa1/0k.json qa1/4k.json --prompts data/prompts.yaml \\\n"
      "    --layout official --output results/org/model --plot accuracy.svg");
  command->callback([o] {
    const ModelLocation location = find_model(o->model, print_notice);
    run(*o, location, resolve_settings(*o, location));
  });
}

}  // namespace wt
