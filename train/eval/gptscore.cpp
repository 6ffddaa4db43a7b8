#include "train/eval/gptscore.h"

#include <algorithm>
#include <compare>
#include <map>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "data/detokenizer.h"
#include "data/jinja/text.h"
#include "data/text_stream.h"

namespace wt {
namespace {

using Ids = std::vector<std::int32_t>;
using IdSpan = std::span<const std::int32_t>;

constexpr const char* kBetween = " In other words , ";
// Batches whose texts are sorted by length together, and then count as done.
constexpr std::int64_t kRounds = 16;

// ids[1:-1] of Python.
IdSpan inner(IdSpan ids) {
  return ids.size() < 2 ? IdSpan() : ids.subspan(1, ids.size() - 2);
}

// ids[:end] of Python, where a negative end counts from behind.
IdSpan up_to(IdSpan ids, std::int64_t end) {
  const auto size = static_cast<std::int64_t>(ids.size());
  if (end < 0) end = std::max<std::int64_t>(0, end + size);
  return ids.first(static_cast<std::size_t>(std::min(end, size)));
}

// What stands before "In other words" where the text would be too long. As in Hugging Face's library, the beginning of
// a character that is cut at the end is one U+FFFD.
std::string shortened(const Tokenizer& tokenizer, const std::string& text, std::size_t target_tokens,
                      std::int64_t max_tokens, bool& is_cut) {
  const Ids ids = tokenizer.encode(text);
  const IdSpan kept = inner(ids);
  const auto target = std::max<std::int64_t>(0, static_cast<std::int64_t>(target_tokens) - 2);
  const std::int64_t excess = static_cast<std::int64_t>(kept.size()) + target - max_tokens;
  if (excess <= 0) return text;
  is_cut = true;
  const IdSpan rest = inner(up_to(kept, static_cast<std::int64_t>(kept.size()) - excess));
  const std::string decoded = tokenizer.decode(rest);
  const std::size_t cut = utf8_incomplete_tail(decoded);
  return utf8_repaired(std::string_view(decoded).substr(0, decoded.size() - cut)) + (cut > 0 ? "\uFFFD" : "");
}

bool is_blank(std::string_view c) {
  return c == " " || c == "\n" || c == "\t" || c == "\r";
}

// Texts, each once, by number.
class TextTable {
 public:
  std::size_t number_of(const std::string& text) {
    const auto [at, is_new] = numbers_.try_emplace(text, texts_.size());
    if (is_new) texts_.push_back(&at->first);
    return at->second;
  }
  const std::string& operator[](std::size_t number) const { return *texts_[number]; }

 private:
  std::map<std::string, std::size_t> numbers_;
  std::vector<const std::string*> texts_;
};

// What is computed of one text; `before` is that of rephrased_text(), and of none for continued_text().
struct Job {
  std::optional<std::size_t> before;
  std::size_t given = 0, target = 0;
  auto operator<=>(const Job&) const = default;  // NOLINT(modernize-use-nullptr): there is no pointer here
};

// The texts that some lines need, each once, in the order in which they are needed.
class Jobs {
 public:
  std::size_t rephrased(const std::string& before, const std::string& a, const std::string& t) {
    return add({texts_.number_of(before), texts_.number_of(a), texts_.number_of(t)});
  }
  std::size_t continued(const std::string& source, const std::string& reference) {
    return add({std::nullopt, texts_.number_of(source), texts_.number_of(reference)});
  }
  std::size_t size() const { return jobs_.size(); }
  const Job& operator[](std::size_t number) const { return jobs_[number]; }
  const TextTable& texts() const { return texts_; }

 private:
  std::size_t add(const Job& job) {
    const auto [at, is_new] = numbers_.try_emplace(job, jobs_.size());
    if (is_new) jobs_.push_back(job);
    return at->second;
  }

  TextTable texts_;
  std::map<Job, std::size_t> numbers_;
  std::vector<Job> jobs_;
};

// The jobs of a line: by aspect and reference there and back; by reference that behind the source.
struct LineJobs {
  std::vector<std::vector<std::pair<std::size_t, std::size_t>>> pairs;
  std::vector<std::size_t> continued;
  std::size_t end = 0;  // all of them are before this one
};

LineJobs jobs_of(const ScoreLine& line, const std::vector<Aspect>& aspects, Jobs& jobs) {
  LineJobs out;
  out.pairs.resize(aspects.size());
  const std::string hypothesis = scored_text(line.hypothesis);
  for (const std::string& raw : line.references) {
    const std::string reference = scored_text(raw);
    for (std::size_t k = 0; k < aspects.size() && !hypothesis.empty() && !reference.empty(); ++k) {
      const std::string before = instruction_text(aspects[k].sentence.value_or(line.instruction));
      const std::size_t there = jobs.rephrased(before, reference, hypothesis);
      out.pairs[k].emplace_back(there, jobs.rephrased(before, hypothesis, reference));
    }
    if (!line.source.empty() && !reference.empty()) out.continued.push_back(jobs.continued(line.source, raw));
  }
  out.end = jobs.size();
  return out;
}

PairScore pair_score(double ref_hypo, double hypo_ref) {
  const double sum = ref_hypo + hypo_ref;
  return {ref_hypo, hypo_ref, sum / 2, sum == 0 ? 0 : ref_hypo * hypo_ref / sum};
}

LineScores scores_of(const LineJobs& jobs, const std::vector<std::optional<double>>& values) {
  LineScores out;
  for (const auto& pairs : jobs.pairs) {
    std::optional<PairScore>& best = out.aspects.emplace_back();
    for (const auto& [there, back] : pairs) {
      if (!values[there] || !values[back]) continue;
      const PairScore score = pair_score(*values[there], *values[back]);
      if (!best) best = score;
      for (double PairScore::*part :
           {&PairScore::ref_hypo, &PairScore::hypo_ref, &PairScore::avg_f, &PairScore::harm_f}) {
        (*best).*part = std::max((*best).*part, score.*part);
      }
    }
  }
  for (const std::size_t job : jobs.continued) {
    if (values[job]) out.reference_nll = std::min(out.reference_nll.value_or(-*values[job]), -*values[job]);
  }
  return out;
}

}  // namespace

std::int64_t longest_text(const Model& model) {
  return model.recurrent() ? 0 : model.max_segment_tokens();
}

std::string scored_text(const std::string& text) {
  std::string out = detokenized(jinja::replace(text, "\n", " ", -1));
  if (!out.empty() && out.back() != '.') out += " .";
  return out;
}

std::string instruction_text(const std::string& sentence) {
  const std::string stripped = jinja::strip(sentence, nullptr, true, true);
  return stripped.empty() ? "" : jinja::replace(stripped, ":", ". ", -1) + "\n";
}

PreparedText rephrased_text(const Tokenizer& tokenizer, const std::string& before, const std::string& a,
                            const std::string& t, const GptScoreOptions& options) {
  WT_CHECK(options.max_tokens >= 2, "gptscore: max_tokens is ", options.max_tokens, ", expected at least 2");
  const auto most = static_cast<std::size_t>(options.max_tokens);
  PreparedText out;
  auto& [ids, labels] = out.text;
  labels = tokenizer.encode(t);
  const std::string given = shortened(tokenizer, before + a, labels.size(), options.max_tokens, out.is_cut);
  if (options.special_tokens) ids = tokenizer.ids_before();
  const Ids rest = tokenizer.encode(given + kBetween + t);
  ids.insert(ids.end(), rest.begin(), rest.end());
  out.is_cut = out.is_cut || ids.size() > most;
  ids.resize(std::min(ids.size(), most));
  if (options.first_label == FirstLabel::kDrop && !labels.empty()) labels.erase(labels.begin());
  labels.resize(std::min(labels.size(), most));
  // A label of the very first token, before which nothing stands, counts for nothing.
  const std::size_t room = ids.empty() ? 0 : ids.size() - 1;
  if (labels.size() > room) labels.erase(labels.begin(), labels.end() - static_cast<std::ptrdiff_t>(room));
  return out;
}

PreparedText continued_text(const Tokenizer& tokenizer, const std::string& source, const std::string& reference,
                            std::int64_t limit, bool special_tokens) {
  PreparedText out;
  auto& [ids, labels] = out.text;
  const bool is_apart = source.empty() || is_blank(std::string_view(source).substr(source.size() - 1)) ||
                        is_blank(std::string_view(reference).substr(0, 1));
  EncodeOptions goes_on;
  goes_on.leading_space_is_prefix = true;
  labels = tokenizer.encode((is_apart ? "" : " ") + reference, goes_on);
  Ids given = tokenizer.encode(source);
  if (special_tokens) ids = tokenizer.ids_before();
  const auto most = static_cast<std::size_t>(limit);
  if (limit > 0 && ids.size() + given.size() + labels.size() > most) {
    out.is_cut = true;
    WT_CHECK(most > ids.size() + 1, "gptscore: room for ", limit, " tokens, expected at least ", ids.size() + 2);
    labels.resize(std::min(labels.size(), most - ids.size() - 1));
    given.erase(given.begin(),
                given.end() - static_cast<std::ptrdiff_t>(std::min(given.size(), most - ids.size() - labels.size())));
  }
  ids.insert(ids.end(), given.begin(), given.end());
  ids.insert(ids.end(), labels.begin(), labels.end());
  // Without a token before it (a source of none) the first has no probability.
  if (!labels.empty() && labels.size() == ids.size()) labels.erase(labels.begin());
  return out;
}

GptScores gpt_scores(const Model& model, const Tokenizer& tokenizer, const std::vector<ScoreLine>& lines,
                     const std::vector<Aspect>& aspects, const GptScoreOptions& options) {
  Jobs jobs;
  std::vector<LineJobs> line_jobs;
  for (const ScoreLine& line : lines) line_jobs.push_back(jobs_of(line, aspects, jobs));

  const auto prepared = [&](const Job& job) {
    const TextTable& texts = jobs.texts();
    return job.before ? rephrased_text(tokenizer, texts[*job.before], texts[job.given], texts[job.target], options)
                      : continued_text(tokenizer, texts[job.given], texts[job.target], longest_text(model),
                                       options.special_tokens);
  };

  GptScores result;
  result.texts = static_cast<std::int64_t>(jobs.size());
  std::vector<std::optional<double>> values;
  std::size_t line = 0;  // the first that needs the job at hand
  const auto goes_on = [&](std::size_t done) {
    return !options.progress || options.progress(static_cast<std::int64_t>(done), result.texts);
  };
  if (!goes_on(0)) return result;
  while (values.size() < jobs.size()) {
    const std::size_t first = values.size(), window = static_cast<std::size_t>(kRounds * options.batch_size);
    std::vector<LabelledText> texts;
    for (std::size_t j = first; j < std::min(jobs.size(), first + window); ++j) {
      while (line_jobs[line].end <= j) ++line;
      try {
        PreparedText text = prepared(jobs[j]);
        (jobs[j].before ? result.cut_texts : result.cut_sources) += text.is_cut ? 1 : 0;
        texts.push_back(std::move(text.text));
      } catch (const Error& error) {  // a vocabulary without a byte of it
        throw Error(cat(lines[line].place, ": ", error.what()));
      }
    }
    const auto means = mean_log_likelihoods(model, texts, options.batch_size, options.schedule, [&](std::int64_t done) {
      return goes_on(first + static_cast<std::size_t>(done));
    });
    if (means.empty()) break;
    values.insert(values.end(), means.begin(), means.end());
  }
  for (const LineJobs& needed : line_jobs) {
    if (needed.end > values.size()) break;
    result.lines.push_back(scores_of(needed, values));
  }
  return result;
}

}  // namespace wt
