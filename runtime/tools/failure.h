/* How the runner ends when something is wrong. */
#ifndef EDGECOMP_TOOLS_FAILURE_H
#define EDGECOMP_TOOLS_FAILURE_H

#include "edgecomp/edgecomp.h"

/* Exit statuses, those of the `edgecomp` command. */
typedef enum exit_code {
  EXIT_CODE_OK = 0,
  EXIT_CODE_USAGE = 2,   /* arguments, input files, output folder */
  EXIT_CODE_DEVICE = 8,  /* the machine cannot run the model, or failed to */
  EXIT_CODE_VERSION = 10 /* the descriptor or the weights are not what they should be */
} exit_code;

/* Print `edgecomp_run: error: ...` and end the process. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 2, 3), noreturn))
#endif
void fail(exit_code code, const char *format, ...);

/* End the process when a status is not EC_OK, with its name, message and exit status. */
void require_ok(ec_status status);

#endif /* EDGECOMP_TOOLS_FAILURE_H */
