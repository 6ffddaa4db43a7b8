// wavetape convert: checkpoints of the published PyTorch wrapper to ours, and back.
#include "train/models/convert.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "train/commands/commands.h"

namespace wt {
namespace {

struct Options {
  std::string source, target, names = "model", alignment = "left";
  double lora_alpha = 0;
  ConvertOptions convert;
};

void run(Options& o) {
  for (const auto value : {SegmentAlignment::kLeft, SegmentAlignment::kRight, SegmentAlignment::kCenter}) {
    if (o.alignment == name_of(value)) o.convert.alignment = value;
  }
  o.convert.names = o.names == "layers" ? WeightNames::kLayers
                    : o.names == "both" ? WeightNames::kBoth
                                        : WeightNames::kModel;
  const ConvertReport report = convert_model(o.source, o.convert, o.target);
  std::printf("%s: %lld tensors in %s, %lld adapters merged\n", o.target.c_str(),
              static_cast<long long>(report.tensors), report.dtype.c_str(), static_cast<long long>(report.merged));
}

}  // namespace

void add_convert(CLI::App& app) {
  auto o = std::make_shared<Options>();
  ConvertOptions& convert = o->convert;
  CLI::App* command = app.add_subcommand(
      "convert", "Rename a checkpoint of the published ARMT code to our names or back; merge LoRA adapters");
  command->add_option("SOURCE", o->source, "Folder (of a model, or of PEFT adapters), .safetensors or its index")
      ->required();
  command->add_option("OUT_DIR", o->target, "Folder to make")->required();
  command
      ->add_option("--names", o->names,
                   "model: memory_cell.model.…, as every command here writes; layers: memory_cell.layers.{l}.…, the "
                   "wrapper's own; both: every name of its state_dict()")
      ->capture_default_str()
      ->check(CLI::IsMember({"model", "layers", "both"}));
  command->add_option("--config", convert.config, "The backbone's config.json; default: the source's");
  command
      ->add_option("--segment-size", convert.segment_size, "Tokens in a segment, for a config without an armt object")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31));
  command->add_option("--nu", convert.nu, "The same: rotations of the DPFP feature map")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command->add_flag("--correction,!--no-correction", convert.correction,
                    "The same: gamma as in the paper (default: yes)");
  command->add_option("--segment-alignment", o->alignment, "The same: left, right or center")
      ->capture_default_str()
      ->check(CLI::IsMember({"left", "right", "center"}));
  command->add_option("--base", convert.adapter_base,
                      "For adapters: the folder of their base model; default: the one that adapter_config.json names");
  CLI::Option* alpha = command->add_option(
      "--lora-alpha", o->lora_alpha, "lora_alpha of adapters to merge; default: from adapter_config.json beside them");
  command->add_flag("--lora-rank-stabilized", convert.lora.rank_stabilized, "Adapters were trained with use_rslora")
      ->needs(alpha);
  command->footer(
      "Example:\n  wavetape convert published/model.safetensors my_armt --config Llama-3.2-1B/config.json \\\n"
      "    --segment-size 1024 --lora-alpha 32\n"
      "  wavetape convert my_adapters merged --base Llama-3.2-1B");
  command->callback([o, alpha] {
    if (alpha->count() > 0) o->convert.lora.alpha = o->lora_alpha;
    run(*o);
  });
}

}  // namespace wt
