"""Every public name, option, field, flag and signal of Django-Q has its counterpart here, or a reason why not."""
