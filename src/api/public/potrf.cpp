#include "jaxmg/potrf.hpp"

#include "api/potrs_program.hpp"
#include "api/public/engine.hpp"

namespace jaxmg {
namespace {

/// What a factorisation needs of a rank's memory.
template <Scalar T>
struct FactorWorkspace {
  CholeskyWorkspace<T> work;
  std::int32_t* info;
  real_t<T>* logdet;
};

}  // namespace

template <Scalar T>
CholeskyFactor<T> potrf(DistributedMatrix<T> a, const PotrfOptions& options) {
  CholeskyProblem problem{a.columns(), a.order(), a.team().size(), options.tile, 0, true};
  validate(problem);
  const Team team = a.team();
  return with_engine(team, [&]<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    problem = planned(problem, Engine::platform, dtype_of<T>());
    problem.on_one_rank = false;  // the factor stays spread over the team
    CholeskyFactor<T> factor(std::move(a), problem.tile);
    const DistributedMatrix<T>& matrix = factor.matrix_;
    if constexpr (B::panel_method == PanelMethod::block_substitution) {
      for (int p = 0; p < engine.size(); ++p) {
        factor.inverses_.push_back(
            engine.template allocate<T>(p, problem.tile * matrix.local_columns()));
      }
    }

    const auto carve = [&](Arena& arena) {
      const BackendTraits traits{B::panel_method, engine.reads_peers_directly()};
      return FactorWorkspace<T>{CholeskyWorkspace<T>::carve(arena, problem, traits),
                                arena.take<std::int32_t>(1), arena.take<real_t<T>>(1)};
    };
    run_with_workspace(engine, carve, [&](Rank<B>& rank, FactorWorkspace<T> own) {
      own.work.solve.inverses = factor.tile_inverses(rank.index());
      const MatrixView<T> M = distribute<B, T>(rank, problem, matrix.shard(rank.index()),
                                               {own.work.matrix, own.work.staging});
      factor_matrix<B, T>(rank, problem, M, own.work);
      agree_on_outcome<B, T>(rank, own.work.scalars, own.info, own.logdet);
      if (rank.index() != 0) return;
      B::template copy<std::int32_t>(rank.panel(), {own.info, 1, 1, 1}, {&factor.info_, 1, 1, 1});
      B::template copy<real_t<T>>(rank.panel(), {own.logdet, 1, 1, 1}, {&factor.logdet_, 1, 1, 1});
    });
    return factor;
  });
}

template <Scalar T>
void CholeskyFactor<T>::gather(MatrixView<T> lower) const {
  const index_t n = order();
  if (lower.rows < n || lower.cols < n) {
    throw InvalidArgument("lower: expected at least " + std::to_string(n) + " x " +
                          std::to_string(n) + ", got " + std::to_string(lower.rows) + " x " +
                          std::to_string(lower.cols));
  }
  const BlockCyclic layout(matrix_.columns(), team().size(), tile_, n);
  with_engine(team(), [&]<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    engine.run([&](Rank<B>& rank) {
      const MatrixView<T> mine = matrix_.shard(rank.index());
      for (index_t k = layout.first_owned(rank.index(), 0); k < layout.tiles(); k += rank.size()) {
        const MatrixView<T> column = tile_column(layout, mine, k);
        const index_t first = layout.offset(k);
        B::template copy<T>(rank.copies(), column,
                            lower.block(first, first, column.rows, column.cols));
      }
    });
  });
  for (index_t j = 0; j < n; ++j) std::fill_n(&lower(0, j), j, T(0));
}

#define JAXMG_INSTANTIATE(T)        \
  template class CholeskyFactor<T>; \
  template CholeskyFactor<T> potrf(DistributedMatrix<T> a, const PotrfOptions& options);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg
