// wavetape import: wrap a Hugging Face checkpoint in a fresh memory.
#include "train/models/import.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/error.h"
#include "train/commands/commands.h"
#include "train/commands/seed_option.h"
#include "train/units.h"

namespace wt {
namespace {

struct Options {
  std::string source, target, alignment = "left";
  ImportOptions import;
};

void run(Options& o) {
  for (const auto value : {SegmentAlignment::kLeft, SegmentAlignment::kRight, SegmentAlignment::kCenter}) {
    if (o.alignment == name_of(value)) o.import.armt.segment_alignment = value;
  }
  const ImportReport report = import_model(o.source, o.import, o.target);
  std::printf("%s: %s parameters in %s, %s of them fresh memory\n", o.target.c_str(),
              human_count(static_cast<double>(report.parameters)).c_str(), report.dtype.c_str(),
              human_count(static_cast<double>(report.fresh)).c_str());
  if (report.merged > 0) std::printf("%lld adapters merged\n", static_cast<long long>(report.merged));
  if (!report.has_tokenizer) {
    std::fprintf(stderr, "wavetape: %s has no tokenizer.json; commands that read text need --tokenizer\n",
                 o.source.c_str());
  }
}

}  // namespace

void add_import(CLI::App& app) {
  auto o = std::make_shared<Options>();
  ArmtConfig& armt = o->import.armt;
  CLI::App* command = app.add_subcommand("import", "Wrap a Hugging Face Llama or GPT-2 folder in a fresh memory");
  command
      ->add_option("HF_DIR", o->source,
                   "Folder with config.json and safetensors (one file, or parts and an index), or of PEFT adapters")
      ->required();
  command->add_option("OUT_DIR", o->target, "Folder to make")->required();
  const auto positive = CLI::Range(std::int64_t{1}, std::int64_t{1} << 31);
  command->add_option("--segment-size", armt.segment_size, "Tokens in a segment")->required()->check(positive);
  command->add_option("--num-mem-tokens", armt.num_mem_tokens, "Memory tokens appended to each segment")
      ->required()
      ->check(positive);
  command->add_option("--d-mem", armt.d_mem, "Width of memory keys and queries")->required()->check(positive);
  command->add_option("--nu", armt.nu, "Rotations of the DPFP feature map")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command->add_flag("--correction,!--no-correction", armt.correction,
                    "Correct the denominator for keys written before (default: yes)");
  command->add_option("--segment-alignment", o->alignment, "Which segment is short: left (the last), right, center")
      ->capture_default_str()
      ->check(CLI::IsMember({"left", "right", "center"}));
  command->add_option("--base", o->import.adapter_base,
                      "For adapters: the folder of their base model; default: the one that adapter_config.json names");
  command->add_option("--seed", o->import.seed, "Seed of the memory's fresh values")
      ->check(seed_check())
      ->capture_default_str();
  command->footer(
      "Weights keep their dtype. Fresh memory changes nothing before it is trained: start a training with\n"
      "model.from: OUT_DIR.\n"
      "Example:\n  wavetape import Llama-3.2-1B my_armt --segment-size 1024 --num-mem-tokens 16 --d-mem 64");
  command->callback([o] { run(*o); });
}

}  // namespace wt
