// What Python calls by ctypes: the BLAS table, the tile, the workspace.
#include <cstring>
#include <exception>
#include <string>

#include "api/factor_program.hpp"
#include "api/team_solver_program.hpp"
#include "api/team_solver_syevd.hpp"
#include "device/cpu/backend.hpp"
#include "device/cpu/blas.hpp"
#include "join.hpp"
#include "team/mailbox.hpp"

namespace {

thread_local std::string last_error;

/// What `body` returns, or -1 with the message kept for jaxmg_last_error().
template <class Body>
std::int64_t told(Body body) {
  try {
    return static_cast<std::int64_t>(body());
  } catch (...) {
    last_error = jaxmg::message_of(std::current_exception());
    return -1;
  }
}

}  // namespace

extern "C" {

/// The message of this thread's last failure.
const char* jaxmg_last_error() { return last_error.c_str(); }

/// The minor version of the FFI headers that this was built against; the major one is 0.
std::int32_t jaxmg_ffi_version() { return XLA_FFI_API_MINOR; }

/// Number of pointers that jaxmg_set_blas() takes.
std::int64_t jaxmg_blas_entries() {
  return static_cast<std::int64_t>(sizeof(jaxmg::cpu::BlasTable) / sizeof(void*));
}

/// Pointers in the order of BlasTable: for s, d, c, z each gemm, gemv, syrk or herk, trsm, potrf,
/// trtri, steqr, geqrf, larft, syevd or heevd, with Fortran's calling convention.
void jaxmg_set_blas(const void* const* pointers, const char* name) {
  jaxmg::cpu::BlasTable table;
  std::memcpy(&table, pointers, sizeof table);
  jaxmg::cpu::set_blas(table, name);
}

/// For tests: rank `rank` of the next call fails.
void jaxmg_inject_fault(std::int32_t rank) { jaxmg::ffi::inject_fault(rank); }

/// Whom to ask about the job that this process belongs to; see ffi/job.hpp.
void jaxmg_set_job(void (*ask)(jaxmg::ffi::JobAnswer*)) { jaxmg::ffi::set_job(ask); }

/// Bytes of workspace a rank of potrs needs; -1 if the sizes make no sense. `platform` as in
/// jaxmg::Platform, `dtype` as in jaxmg::DType, `engine` as in jaxmg::Engine; `tile` 0: chosen by
/// the library.
std::int64_t jaxmg_potrs_workspace(std::int32_t platform, std::int32_t dtype, std::int64_t columns,
                                   std::int64_t order, std::int32_t ranks, std::int64_t tile,
                                   std::int64_t rhs, std::int32_t in_place, std::int32_t engine) {
  return told([&] {
    const auto on = static_cast<jaxmg::Platform>(platform);
    const auto of = static_cast<jaxmg::DType>(dtype);
    jaxmg::CholeskyProblem problem{columns, order, ranks, tile, rhs, in_place != 0};
    problem.engine = static_cast<jaxmg::Engine>(engine);
    jaxmg::validate(problem);
    return jaxmg::visit(of, [&]<class T>() {
      return jaxmg::potrs_workspace_bytes<T>(jaxmg::planned(problem, on, of), jaxmg::traits_of(on));
    });
  });
}

/// The tile of cho_factor: `tile` itself, or, if that is 0, what the library chooses; -1 if the
/// sizes make no sense.
std::int64_t jaxmg_factor_tile(std::int32_t platform, std::int32_t dtype, std::int64_t columns,
                               std::int64_t order, std::int32_t ranks, std::int64_t tile) {
  return told([&] {
    const jaxmg::CholeskyProblem problem{columns, order, ranks, tile, 0, false};
    jaxmg::validate(problem);
    return jaxmg::planned_factor(problem, static_cast<jaxmg::Platform>(platform),
                                 static_cast<jaxmg::DType>(dtype))
        .tile;
  });
}

/// Bytes of workspace a rank of cho_factor needs.
std::int64_t jaxmg_cho_factor_workspace(std::int32_t platform, std::int32_t dtype,
                                        std::int64_t columns, std::int64_t order,
                                        std::int32_t ranks, std::int64_t tile,
                                        std::int32_t in_place) {
  return told([&] {
    const auto on = static_cast<jaxmg::Platform>(platform);
    const auto of = static_cast<jaxmg::DType>(dtype);
    const jaxmg::CholeskyProblem problem{columns, order, ranks, tile, 0, in_place != 0};
    jaxmg::validate(problem);
    return jaxmg::visit(of, [&]<class T>() {
      return jaxmg::CholeskyWorkspace<T>::bytes(jaxmg::planned_factor(problem, on, of),
                                                jaxmg::traits_of(on));
    });
  });
}

/// Bytes of workspace a rank of cho_solve needs, with `rhs` right-hand sides of its own (`spread`)
/// or all ranks' (not).
std::int64_t jaxmg_cho_solve_workspace(std::int32_t platform, std::int32_t dtype,
                                       std::int64_t columns, std::int64_t order, std::int32_t ranks,
                                       std::int64_t tile, std::int64_t rhs, std::int32_t spread,
                                       std::int32_t has_inverses) {
  return told([&] {
    const jaxmg::ChoSolveProblem problem{columns,          order, ranks, tile, rhs, spread != 0,
                                         has_inverses != 0};
    problem.layout();  // checks the sizes
    const auto traits = jaxmg::traits_of(static_cast<jaxmg::Platform>(platform));
    return jaxmg::visit(static_cast<jaxmg::DType>(dtype), [&]<class T>() {
      return jaxmg::ChoSolveWorkspace<T>::bytes(problem, traits.reads_peers_directly);
    });
  });
}

/// Bytes of workspace a rank of potri needs.
std::int64_t jaxmg_potri_workspace(std::int32_t platform, std::int32_t dtype, std::int64_t columns,
                                   std::int64_t order, std::int32_t ranks, std::int64_t tile,
                                   std::int32_t in_place, std::int32_t engine) {
  return told([&] {
    const auto on = static_cast<jaxmg::Platform>(platform);
    const auto of = static_cast<jaxmg::DType>(dtype);
    jaxmg::CholeskyProblem problem{columns, order, ranks, tile, 0, in_place != 0};
    problem.engine = static_cast<jaxmg::Engine>(engine);
    jaxmg::validate(problem);
    return jaxmg::visit(of, [&]<class T>() {
      return jaxmg::potri_workspace_bytes<T>(jaxmg::planned_inverse(problem, on, of),
                                             jaxmg::traits_of(on));
    });
  });
}

/// Bytes of workspace a rank of a factor's inverse() needs; `tile` is the factor's.
std::int64_t jaxmg_cho_inverse_workspace(std::int32_t platform, std::int32_t dtype,
                                         std::int64_t columns, std::int64_t order,
                                         std::int32_t ranks, std::int64_t tile) {
  return told([&] {
    const jaxmg::CholeskyProblem problem{columns, order, ranks, tile, 0, false};
    jaxmg::validate(problem);
    const auto traits = jaxmg::traits_of(static_cast<jaxmg::Platform>(platform));
    return jaxmg::visit(static_cast<jaxmg::DType>(dtype), [&]<class T>() {
      return jaxmg::FactorInverseWorkspace<T>::bytes(problem, traits);
    });
  });
}

/// Bytes of workspace a rank of syevd needs, with eigenvectors or without.
std::int64_t jaxmg_syevd_workspace(std::int32_t platform, std::int32_t dtype, std::int64_t columns,
                                   std::int64_t order, std::int32_t ranks, std::int64_t tile,
                                   std::int32_t vectors, std::int32_t in_place,
                                   std::int32_t engine) {
  return told([&] {
    const auto on = static_cast<jaxmg::Platform>(platform);
    const auto of = static_cast<jaxmg::DType>(dtype);
    jaxmg::SyevdProblem problem{
        columns,
        order,
        ranks,
        tile,
        vectors != 0 ? jaxmg::Eigenvectors::rows : jaxmg::Eigenvectors::none,
        in_place != 0};
    problem.engine = static_cast<jaxmg::Engine>(engine);
    jaxmg::validate(problem);
    return jaxmg::visit(of, [&]<class T>() {
      return jaxmg::syevd_workspace_bytes<T>(jaxmg::planned(problem, on, of), jaxmg::traits_of(on));
    });
  });
}

}  // extern "C"
