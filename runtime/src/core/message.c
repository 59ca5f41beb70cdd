#include "core/message.h"

#include "edgecomp/edgecomp.h"

#ifdef EC_NO_MESSAGES

const char *ec_last_message(void) { return ""; }

#else

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_message[EC_MESSAGE_BYTES];

int ec_message_set(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(last_message, sizeof last_message, format, arguments);
  va_end(arguments);
  return 0;
}

const char *ec_last_message(void) { return last_message; }

#endif
