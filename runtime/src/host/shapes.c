/* Asking and setting the shapes of inputs and outputs. */
#include "host/shapes.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dtype.h"
#include "core/extent.h"
#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/sizes.h"
#include "host/session.h"

/* Extents of a port; NULL where its shape is fixed. */
static const ec_extent *extents_of(const ec_session *session, bool is_input, uint32_t index) {
  const ec_dynamic *dynamic = session->model->dynamic;
  if (dynamic == NULL) {
    return NULL;
  }
  return is_input ? dynamic->inputs[index] : dynamic->outputs[index];
}

static int64_t dimension(const ec_session *session, const ec_port *port,
                         const ec_extent *extents, uint32_t d) {
  return extents != NULL ? ec_extent_value(&extents[d], session->sizes.symbols)
                         : port->shape[d];
}

static uint64_t port_bytes(const ec_session *session, bool is_input, uint32_t index) {
  const ec_model *model = session->model;
  const ec_port *port = is_input ? &model->inputs[index] : &model->outputs[index];
  const ec_extent *extents = extents_of(session, is_input, index);
  if (extents == NULL) {
    return model->tensors[port->tensor].bytes;
  }
  uint64_t bytes = ec_dtype_bytes(port->dtype);
  for (uint32_t d = 0; d < port->rank; ++d) {
    bytes *= (uint64_t)dimension(session, port, extents, d);
  }
  return bytes;
}

uint64_t ec_input_bytes(const ec_session *session, uint32_t index) {
  return port_bytes(session, true, index);
}

uint64_t ec_output_bytes(const ec_session *session, uint32_t index) {
  return port_bytes(session, false, index);
}

static ec_status get_shape(const ec_session *session, bool is_input, uint32_t index,
                           int64_t *out_shape, uint32_t *out_rank) {
  if (session == NULL) {
    return ec_no_session();
  }
  const ec_model *model = session->model;
  uint32_t count = is_input ? model->input_count : model->output_count;
  if (index >= count || out_shape == NULL || out_rank == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "%s %" PRIu32 " of %" PRIu32 ", or out is NULL",
                   is_input ? "input" : "output", index, count);
  }
  const ec_port *port = is_input ? &model->inputs[index] : &model->outputs[index];
  const ec_extent *extents = extents_of(session, is_input, index);
  for (uint32_t d = 0; d < port->rank; ++d) {
    out_shape[d] = dimension(session, port, extents, d);
  }
  *out_rank = port->rank;
  return EC_OK;
}

ec_status ec_session_input_shape(const ec_session *session, uint32_t index, int64_t *out_shape,
                                 uint32_t *out_rank) {
  return get_shape(session, true, index, out_shape, out_rank);
}

ec_status ec_session_output_shape(const ec_session *session, uint32_t index,
                                  int64_t *out_shape, uint32_t *out_rank) {
  return get_shape(session, false, index, out_shape, out_rank);
}

/* The symbol that an input's dimension sets, NULL for a constant one. */
static const ec_symbol *symbol_of(const ec_model *model, const ec_extent *extent) {
  return extent->terms[0].symbol_count != 0
             ? &model->dynamic->symbols[extent->terms[0].symbols[0]]
             : NULL;
}

static ec_status check_dimension(const ec_model *model, const ec_port *port,
                                 const ec_extent *extents, uint32_t d, int64_t size) {
  const ec_symbol *symbol = extents != NULL ? symbol_of(model, &extents[d]) : NULL;
  int64_t step = symbol != NULL ? extents[d].terms[0].factor : 1;
  int64_t low = symbol != NULL ? symbol->minimum * step : port->shape[d];
  int64_t high = symbol != NULL ? symbol->maximum * step : port->shape[d];
  if (size >= low && size <= high && size % step == 0) {
    return EC_OK;
  }
  if (symbol == NULL) {
    return EC_FAIL(EC_ERROR_SHAPE,
                   "dimension %" PRIu32 " of '%s' is %" PRId64 ", not %" PRId64, d, port->name,
                   low, size);
  }
  if (step != 1) {
    return EC_FAIL(EC_ERROR_SHAPE,
                   "dimension %" PRIu32 " of '%s' ('%s') is a multiple of %" PRId64
                   " from %" PRId64 " to %" PRId64 ", not %" PRId64,
                   d, port->name, symbol->name, step, low, high, size);
  }
  return EC_FAIL(EC_ERROR_SHAPE,
                 "dimension %" PRIu32 " of '%s' ('%s') is %" PRId64 " to %" PRId64
                 ", not %" PRId64,
                 d, port->name, symbol->name, low, high, size);
}

/* Whether two dimensions of one input that are one symbol got one value of it. */
static bool agrees(const ec_extent *extents, const int64_t *shape, uint32_t d) {
  for (uint32_t before = 0; before < d; ++before) {
    if (extents[before].terms[0].symbol_count != 0 && extents[d].terms[0].symbol_count != 0 &&
        extents[before].terms[0].symbols[0] == extents[d].terms[0].symbols[0] &&
        shape[before] / extents[before].terms[0].factor !=
            shape[d] / extents[d].terms[0].factor) {
      return false;
    }
  }
  return true;
}

/* Take the sizes of a checked shape; whether any is new. */
static bool take(ec_session *session, const ec_extent *extents, const int64_t *shape,
                 uint32_t rank) {
  bool is_new = false;
  for (uint32_t d = 0; d < rank; ++d) {
    const ec_term *term = &extents[d].terms[0];
    if (term->symbol_count != 0) {
      int64_t *value = &session->sizes.symbols[term->symbols[0]];
      int64_t wanted = shape[d] / term->factor;
      is_new = is_new || *value != wanted;
      *value = wanted;
    }
  }
  return is_new;
}

ec_status ec_session_set_input_shape(ec_session *session, uint32_t index, const int64_t *shape,
                                     uint32_t rank) {
  if (session == NULL) {
    return ec_no_session();
  }
  const ec_model *model = session->model;
  if (index >= model->input_count || (shape == NULL && rank != 0)) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "input %" PRIu32 " of %" PRIu32 ", or shape is NULL",
                   index, model->input_count);
  }
  const ec_port *port = &model->inputs[index];
  if (rank != port->rank) {
    return EC_FAIL(EC_ERROR_SHAPE, "'%s' has %" PRIu32 " dimensions, not %" PRIu32, port->name,
                   port->rank, rank);
  }
  const ec_extent *extents = extents_of(session, true, index);
  for (uint32_t d = 0; d < rank; ++d) {
    ec_status status = check_dimension(model, port, extents, d, shape[d]);
    if (status != EC_OK) {
      return status;
    }
    if (extents != NULL && !agrees(extents, shape, d)) {
      return EC_FAIL(EC_ERROR_SHAPE, "dimension %" PRIu32 " of '%s' differs from an equal one",
                     d, port->name);
    }
  }
  if (extents != NULL && take(session, extents, shape, rank)) {
    ec_sizes_update(&session->sizes);
  }
  return EC_OK;
}
