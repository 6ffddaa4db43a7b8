#include "train/eval/prompts.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/files.h"
#include "data/babilong_metric.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

const std::string kSource = WAVETAPE_SOURCE_DIR;

TEST(Prompts, PartsStandInTheirOrder) {
  const Prompts prompts = Prompts::parse(
      "qa1:\n  instruction: Do it.\n  examples: |-\n    <example>\n    One.\n    </example>\n  post_prompt: Be "
      "short.\n",
      "p.yaml");
  EXPECT_EQ(format_prompt(prompts.of("qa1"), " Mary went.\n", "Where is Mary? "),
            "Do it.\n\n<example>\nOne.\n</example>\n\nBe short.\n\n<context>\nMary went.\n</context>\n\n"
            "Question: Where is Mary?");
}

TEST(Prompts, EmptyPartsLeaveNothingAtTheEnds) {
  const Prompts prompts = Prompts::parse("qa1: {}\nqa2: {post_prompt: Short.}\n", "p.yaml");
  EXPECT_EQ(format_prompt(prompts.of("qa1"), "A.", "B?"), "<context>\nA.\n</context>\n\nQuestion: B?");
  EXPECT_EQ(format_prompt(prompts.of("qa2"), "A.", "B?").rfind("Short.\n\n<context>", 0), 0u);
}

TEST(Prompts, TemplatesOfTheFileAndOfATask) {
  const Prompts prompts = Prompts::parse(
      "template: \"{question} | {context}\"\n"
      "qa1: {instruction: unused}\n"
      "qa2: {instruction: Look, template: \"{{{instruction}}} {context}/{context} {question}\"}\n",
      "p.yaml");
  EXPECT_EQ(format_prompt(prompts.of("qa1"), "C", "Q"), "Q | C");
  EXPECT_EQ(format_prompt(prompts.of("qa2"), "{question}", "Q"), "{Look} {question}/{question} Q")
      << "what is put in is not looked at again";
}

TEST(Prompts, MistakesAreNamedWithTheirLine) {
  const auto expect = [](const std::string& text, const std::string& what) {
    EXPECT_ERROR(Prompts::parse(text, "p.yaml"), UsageError, what);
  };
  expect("qa1: {}\nqa1:\n  instruction: x\n", "p.yaml:2: the key qa1 stands twice");
  expect("qa1:\n  instruktion: x\n", "p.yaml:2: qa1.instruktion: unknown key, did you mean instruction?");
  expect("qa1:\n  postprompt: x\n", "did you mean post_prompt?");
  expect("qa21: {}\n", "p.yaml:1: qa21: unknown key");
  expect("templat: x\nqa1: {}\n", "p.yaml:1: templat: unknown key, did you mean template?");
  expect("qa1:\n  examples: [a, b]\n", "p.yaml:2: qa1.examples: is a list, expected text");
  expect("qa1: text\n", "p.yaml:1: qa1 is 'text', expected a group of keys");
  expect("- qa1\n", "the file is a list");
  expect("", "no prompts for any task");
  expect("qa1:\n", "no prompts for any task");
  expect("template: \"{context}\"\nqa1: {}\n", "p.yaml:1: template: has no {question}");
  expect("template: \"{question}\"\nqa1: {}\n", "p.yaml:1: template: has no {context}");
  expect("qa1: {}\nqa3:\n  template: \"{contex} {question}\"\n",
         "p.yaml:3: qa3.template: unknown name {contex}, did you mean context?");
  expect("template: \"{context} {question} {zzz}\"\nqa1: {}\n", "unknown name {zzz}; known are {instruction}");
  expect("template: \"{context} {question} {\"\nqa1: {}\n", "a lone {, write {{");
  expect("template: \"{context} {question} } x\"\nqa1: {}\n", "a lone }, write }}");
  expect("qa1: [\n", "p.yaml:");
  EXPECT_ERROR(Prompts::parse("qa1: {}\nqa3: {}\n", "p.yaml").of("qa2"), UsageError,
               "p.yaml: no prompt for qa2; the file has qa1, qa3");
  EXPECT_ERROR(Prompts::load("/nowhere/p.yaml"), Error, "/nowhere/p.yaml");
}

TEST(Prompts, OursCoverEveryTaskAndLeadToAnswersThatCount) {
  const Prompts prompts = Prompts::load(kSource + "/data/prompts.yaml");
  for (int i = 1; i <= 20; ++i) {
    const std::string task = cat("qa", i);
    const TaskPrompt& prompt = prompts.of(task);
    EXPECT_GT(prompt.instruction.size(), 80u) << task;
    EXPECT_NE(prompt.examples.find("<example>\n"), std::string::npos) << task;
    EXPECT_NE(prompt.examples.find("\nAnswer: "), std::string::npos) << task;
    EXPECT_GT(prompt.post_prompt.size(), 20u) << task;
    const std::string text = format_prompt(prompt, "CONTEXT", "QUESTION");
    EXPECT_NE(text.find("<context>\nCONTEXT\n</context>\n\nQuestion: QUESTION"), std::string::npos) << task;
    EXPECT_LT(text.size(), 1300u) << task << ": the published lengths leave 300 tokens";
  }
  // The form of the answer that qa1 asks for, filled in.
  EXPECT_TRUE(babilong_correct("qa1", "garden", "Mary is in the garden.", "Where is Mary?"));
  EXPECT_TRUE(babilong_correct("qa3", "garden", "Before the kitchen the apple was in the garden.",
                               "Where was the apple before the kitchen?"));
}

// A package with the two names of BABILong's, with texts that YAML might take for something else.
TEST(Prompts, TheImportScriptTurnsAPackageIntoThisFormat) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "babilong");
  write_file(folder / "babilong/__init__.py", "");
  write_file(
      folder / "babilong/prompts.py",
      "DEFAULT_TEMPLATE = '{instruction}\\n{examples}\\n{post_prompt}\\n<context>{context}</context> {question}'\n"
      "DEFAULT_PROMPTS = {\n"
      "    'qa10': {'instruction': 'yes', 'examples': '', 'post_prompt': '1: # x'},\n"
      "    'qa2': {'instruction': 'a \"b\" \\\\ \\u2019c\\u2019\\n d\\t', 'examples': '- e\\n', 'post_prompt': '{}'},\n"
      "}\n");
  const auto import = [&](const std::string& arguments) {
    return std::system(cat("PYTHONPATH='", folder.path(), "' python3 '", kSource, "/data/import_babilong_prompts.py' ",
                           arguments, " 2>'", folder / "err", "'")
                           .c_str());
  };
  ASSERT_EQ(import("--output '" + folder / "p.yaml" + "'"), 0) << read_file(folder / "err");
  const Prompts prompts = Prompts::load(folder / "p.yaml");
  EXPECT_EQ(prompts.of("qa2").instruction, "a \"b\" \\ \u2019c\u2019\n d\t");
  EXPECT_EQ(prompts.of("qa2").examples, "- e\n");
  EXPECT_EQ(prompts.of("qa2").post_prompt, "{}");
  EXPECT_EQ(prompts.of("qa10").instruction, "yes");
  EXPECT_EQ(prompts.of("qa10").post_prompt, "1: # x");
  EXPECT_EQ(prompts.of("qa10").pattern,
            "{instruction}\n{examples}\n{post_prompt}\n<context>{context}</context> {question}");
  ASSERT_EQ(import("--examples no >'" + folder / "q.yaml" + "'"), 0);
  EXPECT_EQ(Prompts::load(folder / "q.yaml").of("qa2").examples, "");
  EXPECT_NE(import("--module nothing.there"), 0);
  EXPECT_NE(read_file(folder / "err").find("cannot import nothing.there"), std::string::npos);
  EXPECT_NE(import("--module json"), 0);
  EXPECT_NE(read_file(folder / "err").find("json: no DEFAULT_PROMPTS"), std::string::npos);
}

}  // namespace
}  // namespace wt
