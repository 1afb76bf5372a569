# SPDX-License-Identifier: Apache-2.0
# Builds one static library from a list of C files, in a folder of its own.
#   make -f board/tools/lib.mk LIB=out/libx.a FILES="a.c b.c" CC= AR= LIBFLAGS=
objects := $(addprefix $(dir $(LIB)),$(notdir $(FILES:.c=.o)))
vpath %.c $(sort $(dir $(FILES)))

$(LIB): $(objects)
	@rm -f $@ $@.new
	@$(AR) crs $@.new $^ && mv $@.new $@

$(dir $(LIB))%.o: %.c
	$(if $(V),,@)$(CC) $(LIBFLAGS) -c -o $@ $<
