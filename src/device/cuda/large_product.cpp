#include "device/cuda/large_product.hpp"

#include <array>
#include <cstdint>

namespace jaxmg::cuda {
namespace {

// With fewer rows its 128 x 128 tiles leave processors idle at the end of each product, and those
// of the critical path wait longer for a place: n = 16384 took 3 % longer.
constexpr index_t least_rows = 16384, least_cols = 512, least_inner = 512;

/// What cuBLAS is told of a product.
struct Description {
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t A, B, C;

  Description(MatrixView<const double> a, MatrixView<const double> b, MatrixView<const double> c) {
    JAXMG_CUDA(cublasLtMatmulDescInit(&product, CUBLAS_COMPUTE_64F, CUDA_R_64F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    JAXMG_CUDA(cublasLtMatmulDescSetAttribute(&product, CUBLASLT_MATMUL_DESC_TRANSB, &transposed,
                                              sizeof transposed));
    init(A, a);
    init(B, b);
    init(C, c);
  }

 private:
  static void init(cublasLtMatrixLayoutOpaque_t& layout, MatrixView<const double> x) {
    JAXMG_CUDA(cublasLtMatrixLayoutInit(&layout, CUDA_R_64F, static_cast<std::uint64_t>(x.rows),
                                        static_cast<std::uint64_t>(x.cols), x.ld));
  }
};

bool has_tiles_of_128(const cublasLtMatmulAlgo_t& algorithm) {
  std::uint32_t tile = 0;
  std::int32_t parts = 0;
  std::size_t written = 0;
  JAXMG_CUDA(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile,
                                                  sizeof tile, &written));
  JAXMG_CUDA(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                                  &parts, sizeof parts, &written));
  return tile == CUBLASLT_MATMUL_TILE_128x128 && parts <= 1;
}

bool is_aligned(MatrixView<const double> x) {
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.ld % 2 == 0;
}

}  // namespace

std::optional<cublasLtMatmulAlgo_t> find_large_product(cublasHandle_t blas) {
  constexpr index_t rows = 16384, width = 1024;
  const MatrixView<const double> W(nullptr, rows, width, rows), W1(nullptr, width, width, rows);
  Description of(W, W1, W);
  cublasLtMatmulPreferenceOpaque_t preference;
  JAXMG_CUDA(cublasLtMatmulPreferenceInit(&preference));  // no workspace
  std::array<cublasLtMatmulHeuristicResult_t, 16> found;
  int count = 0;
  // A cublasHandle_t is a cublasLtHandle_t as well.
  const auto handle = reinterpret_cast<cublasLtHandle_t>(blas);
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, &of.product, &of.A, &of.B, &of.C, &of.C, &preference,
                                     static_cast<int>(found.size()), found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return std::nullopt;
  JAXMG_CUDA(status);
  for (int i = 0; i < count; ++i) {
    const auto& candidate = found[static_cast<std::size_t>(i)];
    if (candidate.state == CUBLAS_STATUS_SUCCESS && has_tiles_of_128(candidate.algo)) {
      return candidate.algo;
    }
  }
  return std::nullopt;
}

bool add_large_product(Lane& lane, double alpha, MatrixView<const double> A,
                       MatrixView<const double> B, MatrixView<double> C) {
  if (C.rows < least_rows || C.cols < least_cols || A.cols < least_inner) return false;
  if (!lane.large_product || !is_aligned(A) || !is_aligned(B) || !is_aligned(C)) return false;
  Description of(A, B, C);
  const auto handle = reinterpret_cast<cublasLtHandle_t>(lane.blas);
  cublasLtMatmulHeuristicResult_t checked;
  if (cublasLtMatmulAlgoCheck(handle, &of.product, &of.A, &of.B, &of.C, &of.C, &*lane.large_product,
                              &checked) != CUBLAS_STATUS_SUCCESS ||
      checked.workspaceSize > 0) {
    return false;
  }
  const double one = 1;
  JAXMG_CUDA(cublasLtMatmul(handle, &of.product, &alpha, A.data, &of.A, B.data, &of.B, &one, C.data,
                            &of.C, C.data, &of.C, &*lane.large_product, nullptr, 0, lane.stream));
  return true;
}

}  // namespace jaxmg::cuda
