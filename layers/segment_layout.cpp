#include "layers/segment_layout.h"

#include "core/fields.h"
#include "kernels/embedding.h"

namespace wt {

void describe(Fields& f, SegmentAlignment& alignment) {
  f.choice<SegmentAlignment>(
      "segment_alignment", alignment,
      {{"left", SegmentAlignment::kLeft}, {"right", SegmentAlignment::kRight}, {"center", SegmentAlignment::kCenter}},
      "Which segment is short: the last, the first, or all about equal");
}

EmbeddingRows EmbeddingRows::to(const Stream& stream) const {
  EmbeddingRows out = *this;
  for (Tensor* list : {&out.rows, &out.position, &out.carried_from, &out.carried_before, &out.carried_after}) {
    if (list->defined()) *list = list->to(stream);
  }
  return out;
}

void EmbeddingRows::copy_from(const Stream& stream, const EmbeddingRows& source) const {
  const std::pair<const Tensor&, const Tensor&> lists[] = {{rows, source.rows},
                                                           {position, source.position},
                                                           {carried_from, source.carried_from},
                                                           {carried_before, source.carried_before},
                                                           {carried_after, source.carried_after}};
  for (const auto& [to, from] : lists) {
    if (to.defined()) to.copy_from(stream, from);
  }
}

EmbeddingRows SegmentLayout::embedding_rows(const std::vector<SampleRows>& samples, std::int64_t t) const {
  const auto b = static_cast<std::int64_t>(samples.size());
  std::vector<std::int32_t> rows(static_cast<std::size_t>(b * t), kernels::kPaddingRow), position(rows.size(), -1);
  std::vector<std::int32_t> from, to_before, to_after;
  for (std::int64_t sample = 0; sample < b; ++sample) {
    const SampleRows& of = samples[static_cast<std::size_t>(sample)];
    std::int64_t at = 0;  // in the sample's rows
    const auto place = [&] { return static_cast<std::size_t>(sample * t + at); };
    const auto put_memory = [&](std::int64_t count, std::vector<std::int32_t>& carried_to, bool first) {
      for (std::int64_t j = 0; j < count; ++j, ++at) {
        position[place()] = static_cast<std::int32_t>(carries ? of.position + at : positions - count + j);
        if (!of.carried) {
          rows[place()] = kernels::memory_row(static_cast<std::int32_t>(j));
          continue;
        }
        if (first) from.push_back(static_cast<std::int32_t>(sample * count + j));
        carried_to.push_back(static_cast<std::int32_t>(place()));
      }
    };
    if (of.before) put_memory(before, to_before, true);
    for (const std::int32_t id : of.tokens) {
      rows[place()] = id;
      position[place()] = static_cast<std::int32_t>(of.position + at);
      ++at;
    }
    if (of.after) put_memory(after, to_after, !of.before);
  }
  const auto list = [](const std::vector<std::int32_t>& values) {
    return values.empty() ? Tensor{} : Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
  };
  WT_CHECK(
      (to_before.empty() || to_before.size() == from.size()) && (to_after.empty() || to_after.size() == from.size()),
      "segment: carried rows of ", from.size(), ", put before into ", to_before.size(), " and after into ",
      to_after.size());
  return {Tensor::from<std::int32_t>({b, t}, rows),
          positions > 0 ? Tensor::from<std::int32_t>({b, t}, position) : Tensor{}, list(from), list(to_before),
          list(to_after)};
}

}  // namespace wt
