// The application's own login, as simple as can be: the cookie is who it is.
export async function currentUser(request: Request): Promise<string | undefined> {
  return /(?:^|; )user=([^;]+)/.exec(request.headers.get("cookie") ?? "")?.[1];
}
