/* Groups of strips; see ec_call.strip. */
#ifndef EDGECOMP_SRC_CORE_STRIPS_H
#define EDGECOMP_SRC_CORE_STRIPS_H

#include <stdbool.h>
#include <stdint.h>

#include "edgecomp/model.h"

/* Whether a call, which may be the one behind the last, is in the group of the one before. */
static inline bool ec_strips_go_on(const ec_model *model, uint32_t call) {
  return call != 0 && call < model->call_count && model->calls[call].strip != 0 &&
         (model->calls[call].strip_flags & EC_STRIP_BEGINS) == 0;
}

#endif /* EDGECOMP_SRC_CORE_STRIPS_H */
