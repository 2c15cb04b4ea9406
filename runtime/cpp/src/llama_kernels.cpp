// `llama::update_cache` and `llama::custom_sdpa`, which the executorch wheel has for Python only: its library of them
// links against PyTorch. A build of ExecuTorch from source brings its own (CMake target `custom_ops`).
//
// Causal attention over a KV cache in fp32: blocks of query rows of one head at a time, two matrix products each by the
// same BLAS as the wheel's, so that the unpruned prefill, where attention weighs most, is not slowed.
#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/core/exec_aten/util/dim_order_util.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_runtime_context.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "softmax.h"

// Exported by libexecutorch_kernels_optimized, whose header is not in the wheel. Column-major, as BLAS.
namespace executorch::cpublas {
enum class TransposeType { NoTranspose, Transpose, ConjTranspose };
void gemm(TransposeType transa, TransposeType transb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
}  // namespace executorch::cpublas

namespace vlmprune {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::cpublas::gemm;
using executorch::cpublas::TransposeType;
using executorch::runtime::KernelRuntimeContext;

constexpr int64_t kBlockRows = 64;

bool is_plain(const Tensor& tensor) {
  return tensor.dim() == 4 && tensor.size(0) == 1 && tensor.scalar_type() == ScalarType::Float &&
         executorch::runtime::is_contiguous_dim_order(tensor.dim_order().data(), tensor.dim());
}

// Rows [1, S, H, d] and a cache [1, C, G, d] that has room for them from row `start` on.
bool fits(const Tensor& rows, const Tensor& cache, int64_t start) {
  return is_plain(rows) && is_plain(cache) && rows.size(3) == cache.size(3) && start >= 0 &&
         start + rows.size(1) <= cache.size(1);
}

// What all blocks of one call share. A head's queries are `rows` rows, `row_width` numbers apart, each of which sees
// `row_step` keys more than the one before it; heads are `head_width` apart and tokens of the cache `cache_width`.
struct Attention {
  const float *query, *keys, *values;
  float* mixed;
  int64_t rows, row_width, row_step, heads, head_width, heads_per_group, head_dim, start, cache_width;
  float scale;

  int64_t blocks_per_head() const { return (rows + kBlockRows - 1) / kBlockRows; }

  // Head by head, so that threads get as many of the late, long rows as of the early, short ones.
  void run(int64_t block, std::vector<float>& scores) const {
    const int64_t head = block / blocks_per_head(), first = block % blocks_per_head() * kBlockRows;
    const int64_t count = std::min(kBlockRows, rows - first), seen = start + 1 + first * row_step;
    const int64_t attended = seen + (count - 1) * row_step;
    const int64_t own = first * row_width + head * head_width, shared = head / heads_per_group * head_dim;
    scores.resize(static_cast<size_t>(count * attended));
    gemm(TransposeType::Transpose, TransposeType::NoTranspose, attended, count, head_dim, scale, keys + shared,
         cache_width, query + own, row_width, 0, scores.data(), attended);
    for (int64_t row = 0; row < count; ++row) {
      softmax(scores.data() + row * attended, seen + row * row_step, attended);
    }
    gemm(TransposeType::NoTranspose, TransposeType::NoTranspose, head_dim, count, attended, 1, values + shared,
         cache_width, scores.data(), attended, 0, mixed + own, row_width);
  }
};

// One token's heads that share keys are taken as rows of one head: a matrix product instead of many with a vector.
Attention attention_of(const Tensor& query, const Tensor& keys, const Tensor& values, int64_t start, Tensor& out) {
  const int64_t heads = query.size(2), groups = keys.size(2), head_dim = query.size(3), shares = heads / groups;
  Attention attention{};
  attention.query = query.const_data_ptr<float>();
  attention.keys = keys.const_data_ptr<float>();
  attention.values = values.const_data_ptr<float>();
  attention.mixed = out.mutable_data_ptr<float>();
  attention.head_dim = head_dim, attention.start = start, attention.cache_width = groups * head_dim;
  const bool single = query.size(1) == 1;
  attention.rows = single ? shares : query.size(1);
  attention.row_width = single ? head_dim : heads * head_dim;
  attention.row_step = single ? 0 : 1;
  attention.heads = single ? groups : heads;
  attention.head_width = single ? shares * head_dim : head_dim;
  attention.heads_per_group = single ? 1 : shares;
  return attention;
}

Tensor& update_cache_out(KernelRuntimeContext& context, const Tensor& rows, Tensor& cache, int64_t start, Tensor& out) {
  ET_KERNEL_CHECK_MSG(context, fits(rows, cache, start) && rows.size(2) == cache.size(2), InvalidArgument, out,
                      "update_cache: rows do not fit the cache");
  const int64_t width = cache.size(2) * cache.size(3);
  std::memcpy(cache.mutable_data_ptr<float>() + start * width, rows.const_data_ptr<float>(), rows.nbytes());
  return out;
}

Tensor& custom_sdpa_out(KernelRuntimeContext& context, const Tensor& query, const Tensor& keys, const Tensor& values,
                        int64_t start, std::optional<Tensor> mask, double dropout, bool causal,
                        std::optional<double> scale, Tensor& out) {
  const bool known = !mask.has_value() && dropout == 0 && causal;
  ET_KERNEL_CHECK_MSG(context, known, NotSupported, out, "custom_sdpa: only causal, without mask or dropout");
  const bool shaped = fits(query, keys, start) && fits(query, values, start) && keys.size(2) == values.size(2) &&
                      query.size(2) % keys.size(2) == 0;
  ET_KERNEL_CHECK_MSG(context, shaped, InvalidArgument, out, "custom_sdpa: queries, keys and values do not fit");
  ET_KERNEL_CHECK_MSG(context, executorch::runtime::resize_tensor(out, query.sizes()) == executorch::runtime::Error::Ok,
                      InvalidArgument, out, "custom_sdpa: the output cannot be resized");
  Attention attention = attention_of(query, keys, values, start, out);
  attention.scale = static_cast<float>(scale.value_or(1 / std::sqrt(static_cast<double>(attention.head_dim))));
  const int64_t blocks = attention.heads * attention.blocks_per_head();
  executorch::extension::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores;
    for (int64_t block = begin; block < end; ++block) attention.run(block, scores);
  });
  return out;
}

EXECUTORCH_LIBRARY(llama, "update_cache.out", update_cache_out);
EXECUTORCH_LIBRARY(llama, "custom_sdpa.out", custom_sdpa_out);

}  // namespace
}  // namespace vlmprune
